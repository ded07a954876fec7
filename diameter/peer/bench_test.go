package peer

import (
	"context"
	"testing"
)

// BenchmarkRoundTrip is a request and its answer between Client and Server over
// loopback TCP, 64 in flight on one connection.
func BenchmarkRoundTrip(b *testing.B) {
	_, address := startServer(b, echo, nil)
	c := startClient(b, nil, Endpoint{Address: address})
	waitOpen(b, c)
	r := ask(request{})
	b.ReportAllocs()
	b.SetParallelism(32) // times GOMAXPROCS, which is 2 on the reference machine
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Do(context.Background(), r); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
