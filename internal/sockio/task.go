package sockio

import (
	"iter"
)

// Task is what a loop runs the owners of its connections on: a goroutine that
// the loop resumes itself, and that gives the processor back to the loop when it
// has to wait for a socket. There and back takes a quarter of the time of a round
// through two channels (measured: 120 ns beside 500).
//
// While a task runs on its loop, nothing else of that loop does. So whoever has
// to wait for anything but a socket calls Detach first. Who does not, only
// costs the others time: a loop that stands still for a tick goes on without its
// task, as after Detach.
type Task struct {
	loop    *loop
	owner   Owner  // whom it wakes when it is resumed for the first time
	ended   bool   // Wake has returned
	turn    uint64 // the loop's, while it runs there
	copied  int    // bytes written since it last gave the processor back
	resume  func() (struct{}, bool)
	yield   func(struct{}) bool
	discard func()
	near    near
}

func newTask(l *loop) *Task {
	t := &Task{loop: l}
	t.resume, t.discard = iter.Pull(func(yield func(struct{}) bool) {
		t.yield, t.near.self = yield, self()
		for {
			t.owner.Wake()
			t.owner, t.ended = nil, true
			if !yield(struct{}{}) {
				return
			}
		}
	})
	return t
}

// Detach says that the task may wait for something else than a socket: from now
// on it runs on a goroutine of its own, until its owner returns. A nil Task is
// one always.
func (t *Task) Detach() {
	if t != nil && t.endTurn() {
		t.loop.replace()
	}
}

// beginTurn says that the task runs on its loop. It is for the loop, and for a
// task that has ended its turn and goes on after all.
func (t *Task) beginTurn() { t.turn = t.loop.turn.Add(1) }

// endTurn ends the task's turn on its loop. It reports false if it has none: the
// task is detached, or does not run.
func (t *Task) endTurn() bool { return t.loop.turn.CompareAndSwap(t.turn, t.turn+1) }

// Loop returns the number of the task's loop, from 0 to one less than
// Watcher.Loops; 0 for a nil Task.
func (t *Task) Loop() int {
	if t == nil {
		return 0
	}
	return t.loop.number
}

// Attached reports whether the task runs on its loop, and so may wait for a
// socket without a goroutine of its own.
func (t *Task) Attached() bool { return t != nil && t.loop.turn.Load() == t.turn }

// await waits until there is news for s, which it uses up. It reports false, not
// having waited, when the task is not on its loop.
func (t *Task) await(s *side) bool {
	if t == nil || !t.endTurn() {
		return false
	}
	t.copied = 0
	if !s.state.CompareAndSwap(sideDry, sideTask) {
		t.beginTurn() // there is news already
		s.take()
		return true
	}
	t.suspend()
	return true
}

// Pass lets everything else run that the loop has to run, in the middle of work
// that does not wait by itself for a long time. Where the task is not on its
// loop, and with a nil Task, there is nothing to do.
func (t *Task) Pass() {
	if t == nil || !t.endTurn() {
		return
	}
	t.copied = 0
	t.loop.queue = append(t.loop.queue, errand{task: t})
	t.suspend()
}

// suspend gives the processor back to the loop, which has been told when to
// resume the task.
func (t *Task) suspend() {
	t.near.here()
	t.yield(struct{}{})
}

// wrote is Pass after every copyStep bytes: a transfer between two peers that
// are both fast never waits.
func (t *Task) wrote(n int) {
	if !t.Attached() {
		return
	}
	if t.copied += n; t.copied >= copyStep {
		t.Pass()
	}
}
