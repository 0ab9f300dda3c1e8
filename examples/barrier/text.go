package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

var chapters = []string{
	"a lease is a promise that ends by itself and a session keeps one lease alive for all that a process does",
	"a barrier keeps those who come until all have come and a party that dies is named to all who wait for it",
	"a latch counts what was done and not who did it so what was done twice counts once and stays done",
}

// count counts the words of a text whose place is that of a share of so many.
func count(text string, share, of int) map[string]int {
	words := map[string]int{}
	for i, word := range strings.Fields(text) {
		if i%of == share {
			words[word]++
		}
	}
	return words
}

func equal(a, b map[string]int) bool { return maps.Equal(a, b) }

// mostFrequent returns lines for the n most frequent words.
func mostFrequent(words map[string]int, n int) []string {
	names := slices.SortedFunc(maps.Keys(words), func(a, b string) int {
		return cmp.Or(cmp.Compare(words[b], words[a]), strings.Compare(a, b))
	})
	lines := make([]string, 0, n)
	for _, word := range names[:min(n, len(names))] {
		lines = append(lines, fmt.Sprintf("%2d  %s", words[word], word))
	}
	return lines
}
