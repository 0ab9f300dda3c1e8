package leaderworker

import "sync"

// A line collects what somebody else is to do, or to hear of, and hands it over
// all at once. Putting something in never blocks.
type line[T any] struct {
	mu    sync.Mutex
	items []T
	ready chan struct{} // capacity 1; full if there may be items
}

func newLine[T any]() *line[T] { return &line[T]{ready: make(chan struct{}, 1)} }

func (l *line[T]) put(items ...T) {
	if len(items) == 0 {
		return
	}
	l.mu.Lock()
	l.items = append(l.items, items...)
	l.mu.Unlock()
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// take returns what has come, at most so many if most is not 0, in order.
func (l *line[T]) take(most int) []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.items)
	if most > 0 {
		n = min(n, most)
	}
	items := l.items[:n:n]
	if l.items = l.items[n:]; len(l.items) > 0 {
		select {
		case l.ready <- struct{}{}:
		default:
		}
	}
	return items
}
