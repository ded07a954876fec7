package load

import (
	"math/rand/v2"
	"strconv"
)

// picker says who pays for the next session: the subscriber's number.
type picker struct {
	first uint64
	draw  func() uint64 // 0 to the number of subscribers - 1
}

func newPicker(c *Config, random *rand.Rand) (picker, error) {
	first, err := strconv.ParseUint(c.First, 10, 64)
	p := picker{first: first}
	n := uint64(c.Subscribers)
	switch c.Pick {
	case Uniform:
		p.draw = func() uint64 { return random.Uint64N(n) }
	case Zipf:
		p.draw = rand.NewZipf(random, zipfExponent, 1, n-1).Uint64
	case One:
		p.draw = func() uint64 { return 0 }
	}
	return p, err
}

func (p *picker) next() uint64 { return p.first + p.draw() }
