package vpnlogic

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestChangeIsARebuild: a snapshot that was changed group by group answers as one that
// is built from the same data, and the one before still answers as it did.
func TestChangeIsARebuild(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	world := make(map[string][]Member) // by group
	group := func(id int) Group {
		return Group{ID: fmt.Sprint("g", id), Customer: fmt.Sprint("c", id%2), SiteCode: fmt.Sprint(80 + id), CountryCode: "46"}
	}
	members := func(id int) (all []Member) {
		for m := range random.IntN(30) {
			all = append(all, Member{
				Number: E164(fmt.Sprintf("4685%02d%04d", id, m*37)), Group: fmt.Sprint("g", id), Short: fmt.Sprintf("%03d", m),
				Display: fmt.Sprintf("member %d of %d", m, id), Prepaid: m%2 == 0, Bars: Bars{Incoming: m%5 == 0},
			})
		}
		return all
	}
	const groups = 6
	changed, err := NewDirectory(nil, nil, emergencyNumbers)
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		id := random.IntN(groups)
		name, before := fmt.Sprint("g", id), changed
		was := seen(before, groups)
		var b *Builder
		if random.IntN(4) == 0 {
			delete(world, name)
			b = before.Change(nil, []string{name})
		} else {
			world[name] = members(id)
			b = before.Change([]Group{group(id)}, nil)
			for _, m := range world[name] {
				b.Add(m)
			}
		}
		if changed, err = b.Directory(); err != nil {
			t.Fatal(err)
		}
		var all []Group
		var lines []Member
		for id := range groups {
			if there, ok := world[fmt.Sprint("g", id)]; ok {
				all, lines = append(all, group(id)), slices.Concat(lines, there)
			}
		}
		built, err := NewDirectory(all, lines, emergencyNumbers)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := seen(changed, groups), seen(built, groups); !reflect.DeepEqual(got, want) {
			t.Fatalf("changed\n%v\nbuilt\n%v", got, want)
		}
		if !reflect.DeepEqual(seen(before, groups), was) {
			t.Fatal("the snapshot before has changed")
		}
	}
}

// seen is what a snapshot says of every number, and of calls over the sites.
func seen(d *Directory, groups int) []string {
	n, m := d.Size()
	all := []string{fmt.Sprint(n, m)}
	for id := range groups {
		for i := range 30 {
			number := E164(fmt.Sprintf("4685%02d%04d", id, i*37))
			if m, ok := d.Member(number); ok {
				r, cause := d.Screen(Attempt{Calling: string(number), Dialled: fmt.Sprintf("%d%03d", 80+(id+2)%groups, i)}, noon)
				all = append(all, fmt.Sprint(m, r.Class, r.Called, cause == nil))
			}
		}
	}
	return all
}

// TestFaultsAreBounded: of a thousand thousand faulty members a thousand are named.
func TestFaultsAreBounded(t *testing.T) {
	b := NewBuilder([]Group{shop}, nil)
	for i := range faultsMax + 7 {
		b.Add(Member{Number: E164(fmt.Sprint(8613700000000 + i)), Group: "none"})
	}
	_, err := b.Directory()
	if err == nil || !strings.HasSuffix(err.Error(), "and 7 faults more") || strings.Count(err.Error(), "\n") != faultsMax {
		t.Errorf("%d lines", strings.Count(err.Error(), "\n"))
	}
}
