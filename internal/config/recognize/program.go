package recognize

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// format is the system that a program was built for.
type format string

// The formats of program files.
const (
	noProgram format = ""
	elf       format = "Linux"
	mach      format = "macOS"
	pe        format = "Windows"
)

// format tells by its first bytes what kind of program a file is. Libraries
// are told by their names, since their formats are the same.
func (f *folder) format(name string) format {
	if ext := strings.ToLower(filepath.Ext(name)); ext == ".dll" || ext == ".dylib" || strings.Contains(name, ".so") {
		return noProgram
	}
	file, err := os.Open(f.path(name))
	if err != nil {
		return noProgram
	}
	defer file.Close()
	var magic [4]byte
	if _, err := io.ReadFull(file, magic[:]); err != nil {
		return noProgram
	}
	switch {
	case string(magic[:]) == "\x7fELF":
		return elf
	case string(magic[:2]) == "MZ":
		return pe
	case string(magic[:]) == "\xcf\xfa\xed\xfe", string(magic[:]) == "\xca\xfe\xba\xbe":
		return mach
	}
	return noProgram
}

// programs returns the programs of this system in the folder.
func (f *folder) programs() []string {
	var programs []string
	for _, name := range f.names {
		if f.format(name) == native {
			programs = append(programs, name)
		}
	}
	return programs
}

// isBundle reports whether a program is a .NET single-file application. Every
// .NET program holds a marker, the digest of a constant text; the eight bytes
// before it are the offset of the bundle in the file, little endian, and 0
// where there is none (dotnet/runtime, bundle_marker).
func isBundle(path string) (bool, error) {
	const offsetSize = 8
	marker := sha256.Sum256([]byte(".net core bundle\n"))
	file, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return false, err
	}
	overlap := offsetSize + len(marker) - 1
	buf := make([]byte, 1<<20)
	kept := 0 // bytes at the begin of buf that were there before
	for {
		n, err := io.ReadFull(file, buf[kept:])
		data := buf[:kept+n]
		for at := 0; ; {
			i := bytes.Index(data[at:], marker[:])
			if i < 0 {
				break
			}
			at += i
			if at >= offsetSize {
				offset := binary.LittleEndian.Uint64(data[at-offsetSize:])
				if offset > 0 && offset < uint64(info.Size()) {
					return true, nil
				}
			}
			at++
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return false, nil
		case err != nil:
			return false, err
		}
		kept = copy(buf, data[len(data)-overlap:])
	}
}
