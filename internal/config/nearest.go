package config

import "strings"

// Nearest returns the candidate that word was probably meant to be, for "did
// you mean", or "" if none is near enough: at most one edit for every three
// letters. Letter case costs nothing.
func Nearest(word string, candidates []string) string {
	if len(word) > 64 { // no name is that long, and the work is quadratic
		return ""
	}
	best, limit := "", len(word)/3+1
	for _, c := range candidates {
		if d := edits(strings.ToLower(word), strings.ToLower(c)); d < limit {
			best, limit = c, d
		}
	}
	return best
}

// edits counts the insertions, deletions, replacements and swaps of
// neighbours that make b of a (the optimal string alignment distance).
func edits(a, b string) int {
	above := make([]int, len(b)+1) // the row before the one before
	prev := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], above[j-2]+1)
			}
		}
		above, prev, row = prev, row, above
	}
	return prev[len(b)]
}
