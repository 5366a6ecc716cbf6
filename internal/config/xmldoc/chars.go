package xmldoc

// isChar reports whether r may stand in a document at all (XML 1.0 [2]).
func isChar(r rune) bool {
	switch {
	case r < 0x20:
		return r == '\t' || r == '\n' || r == '\r'
	case r <= 0xd7ff:
		return true
	case r <= 0xfffd:
		return r >= 0xe000
	}
	return r >= 0x10000 && r <= 0x10ffff
}

// isSpace reports whether c is white space (XML 1.0 [3]).
func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// isNameStart reports whether a name may begin with r (XML 1.0 [4]).
func isNameStart(r rune) bool {
	if r < 0x80 {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '_' || r == ':'
	}
	return inRanges(r, nameStarts[:])
}

// isNameChar reports whether r may stand in a name (XML 1.0 [4a]).
func isNameChar(r rune) bool {
	if r < 0x80 {
		return isNameStart(r) || '0' <= r && r <= '9' || r == '-' || r == '.'
	}
	return inRanges(r, nameStarts[:]) || inRanges(r, nameParts[:])
}

type runeRange struct{ first, last rune }

func inRanges(r rune, ranges []runeRange) bool {
	for _, x := range ranges {
		if x.first <= r && r <= x.last {
			return true
		}
	}
	return false
}

// nameStarts and nameParts are the parts of NameStartChar and NameChar beyond
// ASCII (XML 1.0, fifth edition, [4] and [4a]).
var (
	nameStarts = [...]runeRange{
		{0xc0, 0xd6}, {0xd8, 0xf6}, {0xf8, 0x2ff}, {0x370, 0x37d}, {0x37f, 0x1fff},
		{0x200c, 0x200d}, {0x2070, 0x218f}, {0x2c00, 0x2fef}, {0x3001, 0xd7ff},
		{0xf900, 0xfdcf}, {0xfdf0, 0xfffd}, {0x10000, 0xeffff},
	}
	nameParts = [...]runeRange{{0xb7, 0xb7}, {0x300, 0x36f}, {0x203f, 0x2040}}
)
