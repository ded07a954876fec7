package vpnlogic

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Directory is an immutable snapshot of all groups and members. It is safe for
// any number of goroutines; a change is a new Directory, which shares with the one
// before what has not changed. A member takes about 90 bytes and no pointer.
type Directory struct {
	groups    map[string]*group
	order     []*group // by their index; nil: a group that is gone
	numbers   numbers
	emergency map[string]bool
}

// group is a Group with its members and what screening looks up.
type group struct {
	Group
	index  uint32 // in Directory.order
	region string // of the national numbering plan, for the parser
	zone   *time.Location
	sites  map[string]*group // by site code, those of the same customer

	lines  []line
	shorts map[uint64]uint32 // line by short number
	names  string            // the display names, one behind the other
	lists  [][]Rule          // the members' own lists
}

// line is a member as the snapshot keeps it.
type line struct {
	number  uint64 // E.164
	short   uint64 // shortKey, 0 none
	name    uint32 // where the display name begins in group.names
	list    uint32 // of group.lists, counted from 1; 0 none
	profile uint16 // of Group.Profiles, counted from 1; 0 none
	nameLen uint8
	flags   uint8
}

// The flags of a line.
const (
	linePrepaid uint8 = 1 << iota
	lineBarOutgoing
	lineBarOffNet
	lineBarInternational
	lineBarIncoming
)

func (l *line) set(flag uint8, on bool) {
	if on {
		l.flags |= flag
	}
}

// member is a Member with its group and profile resolved, made when it is looked up.
type member struct {
	Member
	group   *group
	profile *Profile // may be nil
	bars    Bars     // own and the profile's
}

// numbers finds lines by their number, in shards: a changed snapshot copies those in
// which something changed.
type numbers [numberShards]map[uint64]place

const numberShards = 1024

// place is where a line stands: its group's index and its own in the group.
type place struct{ group, line uint32 }

// shard keeps neighbouring numbers together, for they are loaded and changed together.
func shard(number uint64) int { return int(number / 1000 % numberShards) }

// key is the number as an integer; false when it can be no member's.
func (n E164) key() (uint64, bool) {
	if !n.Valid() {
		return 0, false
	}
	key, err := strconv.ParseUint(string(n), 10, 64)
	return key, err == nil
}

// shortKey is a short number as an integer, with a 1 in front that keeps its leading
// zeros; 0 when it can be no member's.
func shortKey(short string) uint64 {
	if !digitsOnly(short) || len(short) > shortNumberMax {
		return 0
	}
	key, err := strconv.ParseUint("1"+short, 10, 64)
	if err != nil {
		return 0
	}
	return key
}

// find returns the member with the public number, nil when there is none.
func (d *Directory) find(number E164) *member {
	key, ok := number.key()
	if !ok {
		return nil
	}
	at, ok := d.numbers[shard(key)][key]
	if !ok {
		return nil
	}
	return d.order[at.group].view(at.line)
}

// holds tells whether the number is a member's.
func (d *Directory) holds(number E164) bool {
	key, ok := number.key()
	if ok {
		_, ok = d.numbers[shard(key)][key]
	}
	return ok
}

// member returns the member with the short number, nil when there is none.
func (g *group) member(short string) *member {
	at, ok := g.shorts[shortKey(short)]
	if !ok {
		return nil
	}
	return g.view(at)
}

// view makes the member of a line. What it hands out holds on to nothing of the
// snapshot but group settings: a long call must not keep an old directory alive.
func (g *group) view(at uint32) *member {
	l := &g.lines[at]
	m := &member{group: g}
	m.Number, m.Group = E164(strconv.FormatUint(l.number, 10)), g.ID
	if l.short != 0 {
		m.Short = strconv.FormatUint(l.short, 10)[1:]
	}
	m.Display = strings.Clone(g.names[l.name : l.name+uint32(l.nameLen)])
	m.Prepaid = l.flags&linePrepaid != 0
	m.Bars = Bars{
		Outgoing: l.flags&lineBarOutgoing != 0, OffNet: l.flags&lineBarOffNet != 0,
		International: l.flags&lineBarInternational != 0, Incoming: l.flags&lineBarIncoming != 0,
	}
	m.bars = m.Bars
	if l.profile != 0 {
		m.profile = &g.Profiles[l.profile-1]
		m.Profile, m.bars = m.profile.Name, m.Bars.with(m.profile.Bars)
	}
	if l.list != 0 {
		m.Rules = g.lists[l.list-1]
	}
	return m
}

// Member returns the member with the public number.
func (d *Directory) Member(number E164) (Member, bool) {
	m := d.find(number)
	if m == nil {
		return Member{}, false
	}
	return m.Member, true
}

// Size returns how many groups and members the snapshot holds.
func (d *Directory) Size() (groups, members int) {
	for _, g := range d.groups {
		members += len(g.lines)
	}
	return len(d.groups), members
}

// NewDirectory builds a snapshot. Its error lists the faults of the data, so
// that an operator can mend all at once.
func NewDirectory(groups []Group, members []Member, emergency []string) (*Directory, error) {
	b := NewBuilder(groups, emergency)
	for _, m := range members {
		b.Add(m)
	}
	return b.Directory()
}

// faultsMax bounds the faults that are listed.
const faultsMax = 1000

// Builder builds a snapshot, member by member: NewBuilder, Add for each, Directory. It
// is for one goroutine.
type Builder struct {
	d      *Directory
	fresh  map[string]*filling // the groups that are filled
	last   *filling            // that of the last member: they mostly come together
	own    [numberShards]bool  // shards that are this builder's own
	free   []uint32            // indexes of groups that are gone
	faults []error
	more   int // faults that are not listed
}

// filling is a group while its members come.
type filling struct {
	*group
	text     []byte // of the display names
	profiles map[string]uint16
}

// NewBuilder begins a whole directory.
func NewBuilder(groups []Group, emergency []string) *Builder {
	b := &Builder{
		d:     &Directory{groups: make(map[string]*group, len(groups)), emergency: make(map[string]bool, len(emergency))},
		fresh: make(map[string]*filling, len(groups)),
	}
	for _, number := range emergency {
		b.addEmergency(number)
	}
	for i := range groups {
		b.addGroup(&groups[i])
	}
	b.joinSites(nil)
	return b
}

// Change begins a directory that is this one but for some groups, which it has anew,
// without members until they are added, or not at all any more.
func (d *Directory) Change(groups []Group, gone []string) *Builder {
	b := &Builder{
		d:     &Directory{groups: maps.Clone(d.groups), order: slices.Clone(d.order), numbers: d.numbers, emergency: d.emergency},
		fresh: make(map[string]*filling, len(groups)),
	}
	joined := make(map[string]bool)
	for i := range groups {
		b.takeOut(groups[i].ID, joined)
	}
	for _, id := range gone {
		b.takeOut(id, joined)
	}
	for i := range groups {
		joined[groups[i].Customer] = true
		b.addGroup(&groups[i])
	}
	b.joinSites(joined)
	return b
}

// takeOut removes a group with its members, if it is there, and notes its customer.
func (b *Builder) takeOut(id string, customers map[string]bool) {
	g := b.d.groups[id]
	if g == nil {
		return
	}
	customers[g.Customer] = true
	for i := range g.lines {
		delete(b.shard(g.lines[i].number), g.lines[i].number)
	}
	delete(b.d.groups, id)
	b.d.order[g.index] = nil
	b.free = append(b.free, g.index)
}

// shard is the shard of a number, to be changed.
func (b *Builder) shard(number uint64) map[uint64]place {
	i := shard(number)
	if !b.own[i] {
		b.own[i] = true
		if b.d.numbers[i] = maps.Clone(b.d.numbers[i]); b.d.numbers[i] == nil {
			b.d.numbers[i] = make(map[uint64]place)
		}
	}
	return b.d.numbers[i]
}

func (b *Builder) fault(err error) {
	if err == nil {
		return
	}
	if len(b.faults) == faultsMax {
		b.more++
		return
	}
	b.faults = append(b.faults, err)
}

func (b *Builder) addEmergency(number string) {
	if !digitsOnly(number) || len(number) > shortNumberMax {
		b.fault(fmt.Errorf("emergency number %q: want 1 to %d digits", number, shortNumberMax))
		return
	}
	b.d.emergency[number] = true
}

func (b *Builder) addGroup(g *Group) {
	if _, taken := b.d.groups[g.ID]; taken {
		b.fault(fmt.Errorf("group %q: id stands twice", g.ID))
		return
	}
	if err := g.Check(); err != nil {
		b.fault(err)
		return
	}
	region, _ := regionOf(g.CountryCode)
	zone, _ := time.LoadLocation(g.TimeZone)
	kept := &group{
		Group: *g, region: region, zone: zone, index: b.freeIndex(),
		shorts: make(map[uint64]uint32), sites: make(map[string]*group),
	}
	f := &filling{group: kept, profiles: make(map[string]uint16, len(g.Profiles))}
	for i := range g.Profiles {
		f.profiles[g.Profiles[i].Name] = uint16(i + 1)
	}
	b.d.groups[g.ID], b.d.order[kept.index], b.fresh[g.ID] = kept, kept, f
}

// freeIndex is the index of a group that is gone, or the next one.
func (b *Builder) freeIndex() uint32 {
	if last := len(b.free) - 1; last >= 0 {
		index := b.free[last]
		b.free = b.free[:last]
		return index
	}
	b.d.order = append(b.d.order, nil)
	return uint32(len(b.d.order) - 1)
}

// joinSites lets the groups of one customer find each other by site code: of the named
// customers, nil: of all. A group that is not filled here belongs to the snapshot
// before, too, and is copied.
func (b *Builder) joinSites(customers map[string]bool) {
	sites := make(map[string]map[string]*group)
	for id, g := range b.d.groups {
		if g.Customer == "" || (customers != nil && !customers[g.Customer]) {
			continue
		}
		if b.fresh[id] == nil {
			other := *g
			g = &other
			b.d.groups[id], b.d.order[g.index] = g, g
		}
		if sites[g.Customer] == nil {
			sites[g.Customer] = make(map[string]*group)
		}
		g.sites = sites[g.Customer]
		if g.SiteCode == "" {
			continue
		}
		if other := g.sites[g.SiteCode]; other != nil {
			b.fault(fmt.Errorf("groups %q and %q of customer %q have the same site code %s", g.ID, other.ID, g.Customer, g.SiteCode))
		}
		g.sites[g.SiteCode] = g
	}
}

// Add takes a member in. Its texts may be changed afterwards; its list may not.
func (b *Builder) Add(m Member) {
	f := b.filling(m.Group)
	if f == nil {
		b.fault(fmt.Errorf("member %s: no group %q", m.Number, m.Group))
		return
	}
	number, ok := m.Number.key()
	if !ok || !m.plain() || m.Short != "" && b.d.isEmergency(m.Short, f.EscapeCode) || !f.takes(&m) {
		b.fault(cmp.Or(m.Check(f.Group, b.hides), fmt.Errorf("member %s: does not fit its group", m.Number)))
		return
	}
	at, short := uint32(len(f.lines)), shortKey(m.Short)
	if !put(b.shard(number), number, place{f.index, at}) {
		b.fault(fmt.Errorf("member %s: number stands twice", m.Number))
	}
	if short != 0 && !put(f.shorts, short, at) {
		b.fault(fmt.Errorf("member %s: short number %s of group %q is taken", m.Number, m.Short, f.ID))
	}
	f.append(number, short, &m)
}

// put adds to a map; false: the key was there, and its value is replaced.
func put[V any](to map[uint64]V, key uint64, value V) bool {
	before := len(to)
	to[key] = value
	return len(to) > before
}

func (b *Builder) hides(short string, g Group) bool { return b.d.isEmergency(short, g.EscapeCode) }

// filling is the group that members are added to, nil when there is none.
func (b *Builder) filling(id string) *filling {
	if b.last == nil || b.last.ID != id {
		b.last = b.fresh[id]
	}
	return b.last
}

// plain tells that nothing is wrong with the texts of a member by themselves. It and
// takes say without a word what Member.Check explains, for a million times it is right.
func (m *Member) plain() bool {
	return (m.Short == "" || shortKey(m.Short) != 0) &&
		len(m.Display) <= nameMax && !strings.ContainsFunc(m.Display, isControl) &&
		(len(m.Rules) == 0 || checkRules(m.Rules, "") == nil)
}

// takes tells that a member fits the group.
func (f *filling) takes(m *Member) bool {
	fits := m.Short == "" || f.ShortDigits == 0 || len(m.Short) == f.ShortDigits
	if m.Profile == "" {
		return fits
	}
	return fits && f.profiles[m.Profile] != 0
}

func (f *filling) append(number, short uint64, m *Member) {
	l := line{number: number, short: short, name: uint32(len(f.text)), nameLen: uint8(len(m.Display)), profile: f.profiles[m.Profile]}
	l.set(linePrepaid, m.Prepaid)
	l.set(lineBarOutgoing, m.Bars.Outgoing)
	l.set(lineBarOffNet, m.Bars.OffNet)
	l.set(lineBarInternational, m.Bars.International)
	l.set(lineBarIncoming, m.Bars.Incoming)
	f.text = append(f.text, m.Display...)
	if len(m.Rules) > 0 {
		f.lists = append(f.lists, m.Rules)
		l.list = uint32(len(f.lists))
	}
	f.lines = append(f.lines, l)
}

// Directory returns the finished snapshot; the builder is used up.
func (b *Builder) Directory() (*Directory, error) {
	if b.more > 0 {
		b.faults = append(b.faults, fmt.Errorf("and %d faults more", b.more))
	}
	if err := errors.Join(b.faults...); err != nil {
		return nil, err
	}
	for _, f := range b.fresh {
		f.names = string(f.text)
		f.lines = slices.Clip(slices.Clone(f.lines)) // what append made is up to twice as long
	}
	return b.d, nil
}
