package listen

import "testing"

func TestListeningInode(t *testing.T) {
	t.Parallel()
	const line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 36441 1 0000000000000000 100 0 0 10 0"
	if inode, ok := listeningInode(line, 8080); !ok || inode != "36441" {
		t.Errorf("%q, %v", inode, ok)
	}
	for name, line := range map[string]string{
		"heading":     "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
		"other-port":  "   0: 0100007F:1F91 00000000:0000 0A 0:0 00:0 0 0 0 36441",
		"established": "   0: 0100007F:1F90 0100007F:C350 01 0:0 00:0 0 0 0 36441",
		"short":       "   0: 0100007F:1F90 0A",
		"empty":       "",
	} {
		if inode, ok := listeningInode(line, 8080); ok {
			t.Errorf("%s: inode %q", name, inode)
		}
	}
}
