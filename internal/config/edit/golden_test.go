package edit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// TestGolden runs every archive in testdata/golden. Its comment says what it
// shows, and below an empty line what is done to the file "before":
//
//	set LOCATION PATH=VALUE
//	ensure LOCATION PATH
//	unset LOCATION PATH
//
// with "." for no location, and \t and \n in values. "after" is what comes
// out; UPDATE=1 in the environment writes it. Every case is run in every
// encoding and with both line ends, and twice over: the second time nothing
// may change.
func TestGolden(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/golden/*.txtar")
	if err != nil || len(cases) < 20 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, name := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			_, ops, found := strings.Cut(string(archive.Comment), "\n\n")
			if !found || len(archive.Files) != 2 {
				t.Fatal("the case has no operations, or not two files")
			}
			before := archive.Files[0].Data
			if os.Getenv("UPDATE") != "" {
				archive.Files[1].Data = do(t, ops, before)
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			after := archive.Files[1].Data
			for form, write := range forms {
				if strings.HasPrefix(form, "utf-16") && strings.Contains(string(before), "us-ascii") {
					continue
				}
				got := do(t, ops, write(before))
				if diff := cmp.Diff(string(write(after)), string(got)); diff != "" {
					t.Errorf("%s\n%s\n%s", archive.Comment, form, diff)
				}
				if again := do(t, ops, got); !strings.Contains(ops, "unset") && !bytes.Equal(again, got) {
					t.Errorf("%s: done twice it is another file:\n%s", form, again)
				}
			}
		})
	}
}

// forms are the ways in which a file may be written.
var forms = map[string]func([]byte) []byte{
	"as it is":           func(b []byte) []byte { return b },
	"carriage return":    func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) },
	"byte order mark":    func(b []byte) []byte { return append([]byte("\xef\xbb\xbf"), b...) },
	"utf-16":             func(b []byte) []byte { return wide(b, binary.LittleEndian, "\ufeff") },
	"utf-16, big endian": func(b []byte) []byte { return wide(b, binary.BigEndian, "") },
}

func wide(b []byte, order binary.AppendByteOrder, mark string) (out []byte) {
	text := strings.Replace(string(b), `encoding="utf-8"`, `encoding="utf-16"`, 1)
	for _, u := range utf16.Encode([]rune(mark + text)) {
		out = order.AppendUint16(out, u)
	}
	return out
}

// do runs the operations of a case.
func do(t *testing.T, ops string, data []byte) []byte {
	t.Helper()
	f, err := Parse("web.config", data)
	if err != nil {
		t.Fatal(err)
	}
	for op := range strings.Lines(ops) {
		verb, rest, _ := strings.Cut(strings.TrimSuffix(op, "\n"), " ")
		location, text, _ := strings.Cut(rest, " ")
		p, value, _, err := ParseSetting(text)
		if err != nil {
			t.Fatal(err)
		}
		value = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(value)
		switch verb {
		case "set":
			err = f.Set(location, p, value)
		case "ensure":
			err = f.Ensure(location, p)
		case "unset":
			_, err = f.Unset(location, p)
		default:
			err = errors.New("no such operation: " + verb)
		}
		if err != nil {
			t.Fatalf("%s: %v", op, err)
		}
	}
	return f.Bytes()
}
