package pgstore

// trust says whether the next batch may rely on what is known. After one that was
// disappointed by changes of others, as happens when nodes share accounts, so many
// batches take the locks at once, twice as many each time.
type trust struct {
	locked int // batches still to be carried out under the locks
	pause  int // how many that were after the last disappointment
}

// distrustMax bounds the batches after which what is known is tried again.
const distrustMax = 64

func (t *trust) next() bool {
	if t.locked > 0 {
		t.locked--
		return false
	}
	return true
}

func (t *trust) disappointed() {
	t.pause = min(max(1, 2*t.pause), distrustMax)
	t.locked = t.pause - 1 // the batch itself is the first
}

func (t *trust) confirmed() { t.pause /= 2 }
