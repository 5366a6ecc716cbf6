package listen

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// mostUnsent is how many bytes the kernel takes for a peer beyond those that are
// on their way to it. Without a bound it takes 4 MB for each client that reads
// slowly, and a few thousand of them the memory of all. Larger values move no
// more (measured with responses of 1 MiB).
const mostUnsent = 256 << 10

// limitUnsent sets the bound on a socket that listens: those that it accepts
// inherit it.
func limitUnsent(_, _ string, c syscall.RawConn) (err error) {
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, mostUnsent)
	}); e != nil {
		err = e
	}
	return err
}

const longestSocketPath = 107 // sun_path of sockaddr_un, with its final zero

const privilegeHint = "run as root, give the program the right with `setcap cap_net_bind_service=+ep FILE`, or listen on a port from 1024"

func ownerCommand(port uint16) string { return fmt.Sprintf("ss -ltnp 'sport = :%d'", port) }

// portOwner names the process that listens on a TCP port, by the kernel's
// tables. It is "" if the process belongs to another user, whose descriptors
// cannot be seen, or is in another network namespace.
func portOwner(port uint16) string {
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range bytes.Lines(data) {
			if inode, ok := listeningInode(string(line), port); ok {
				inodes["socket:["+inode+"]"] = true
			}
		}
	}
	if len(inodes) == 0 {
		return ""
	}
	descriptors, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return ""
	}
	for _, d := range descriptors {
		if target, err := os.Readlink(d); err != nil || !inodes[target] {
			continue
		}
		pid := strings.Split(d, "/")[2]
		name, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil {
			continue
		}
		return strings.TrimSpace(string(name)) + " (process " + pid + ")"
	}
	return ""
}

// listeningInode takes the inode of a listening socket on this port from one
// line of /proc/net/tcp (proc_net_tcp in the kernel's documentation): number,
// local address:port, remote one, state, and the inode as the tenth word.
func listeningInode(line string, port uint16) (inode string, ok bool) {
	const listen = "0A"
	words := strings.Fields(line)
	if len(words) < 10 || words[3] != listen {
		return "", false
	}
	i := strings.LastIndexByte(words[1], ':')
	raw, err := hex.DecodeString(words[1][i+1:])
	if err != nil || len(raw) != 2 || uint16(raw[0])<<8|uint16(raw[1]) != port {
		return "", false
	}
	if _, err := strconv.ParseUint(words[9], 10, 64); err != nil {
		return "", false
	}
	return words[9], true
}
