package ports

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Of iprtrmib.h and tcpmib.h: the class of tables that hold listeners with
// their process, and the sizes of the rows.
const (
	tableOwnerPIDListener = 3  // TCP_TABLE_OWNER_PID_LISTENER
	row4                  = 24 // MIB_TCPROW_OWNER_PID
	row6                  = 56 // MIB_TCP6ROW_OWNER_PID
)

// listeners reads the tables of both families. Windows does not tell whether
// an IPv6 wildcard takes IPv4 as well; where it does, it is in the table of
// IPv4, too.
func listeners(want func(uint16) bool) ([]Listener, error) {
	call := windows.NewLazySystemDLL("iphlpapi.dll").NewProc("GetExtendedTcpTable")
	if err := call.Find(); err != nil {
		return nil, fmt.Errorf("list listening sockets: %w", err)
	}
	rows, err := table(call, windows.AF_INET, row4)
	if err != nil {
		return nil, fmt.Errorf("list listening sockets of IPv4: %w", err)
	}
	var list []Listener
	for ; len(rows) > 0; rows = rows[row4:] {
		addr := netip.AddrFrom4([4]byte(rows[4:8]))
		port := binary.BigEndian.Uint16(rows[8:]) // network order in the low half
		if want(port) {
			list = append(list, Listener{Addr: netip.AddrPortFrom(addr, port), PID: int(binary.LittleEndian.Uint32(rows[20:]))})
		}
	}
	rows, err = table(call, windows.AF_INET6, row6)
	if err != nil {
		return nil, fmt.Errorf("list listening sockets of IPv6: %w", err)
	}
	for ; len(rows) > 0; rows = rows[row6:] {
		addr := netip.AddrFrom16([16]byte(rows[0:16])).Unmap()
		port := binary.BigEndian.Uint16(rows[20:])
		if want(port) {
			list = append(list, Listener{
				Addr: netip.AddrPortFrom(addr, port), V6Only: addr.Is6(), PID: int(binary.LittleEndian.Uint32(rows[52:])),
			})
		}
	}
	return list, nil
}

// table returns the rows of one table, which may grow between the question for
// its size and the one for itself.
func table(call *windows.LazyProc, family, row uintptr) ([]byte, error) {
	size := uint32(16 << 10)
	for range 10 {
		b := make([]byte, max(size, 4))
		code, _, _ := call.Call(uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0, family, tableOwnerPIDListener, 0)
		switch err := windows.Errno(code); {
		case errors.Is(err, windows.ERROR_INSUFFICIENT_BUFFER):
			continue
		case code != 0:
			return nil, err
		}
		n := int(binary.LittleEndian.Uint32(b))
		if end := 4 + n*int(row); end <= len(b) {
			return b[4:end], nil
		}
		return nil, fmt.Errorf("%d rows in %d bytes", n, len(b))
	}
	return nil, windows.ERROR_INSUFFICIENT_BUFFER
}

// owner is not asked on Windows, where every listener comes with its process.
func owner(Listener, []int) (int, error) { return 0, ErrNotOwner }
