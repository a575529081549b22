// SPDX-License-Identifier: GPL-3.0-or-later

// Package standin replaces what tells where texts come from by stand-ins: addresses, NQNs, UUIDs, World Wide Names, names of hosts and
// others. A value has the same stand-in in all texts, and stand-ins are like what they stand for: an IPv6 address is one, addresses of one
// network are of one, link-local ones stay so, and values of one kind sort as before.
//
// All texts are learned first, then replaced:
//
//	set := standin.New()
//	set.Learn(text)
//	text = set.Names().Replace(text)
package standin

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/nvme-discoverd/nvme-discoverd/internal/tid"
)

// Set is what has to be replaced.
type Set struct {
	addrs  map[netip.Addr]bool // without zones
	spelt  map[string]netip.Addr
	nqns   map[string]bool
	uuids  map[string]bool // in lower case, with dashes
	macs   map[string]bool // in lower case
	wwns   map[string]bool // 16 digits in lower case
	names  map[string]bool
	ifaces map[string]bool
	units  map[string]tid.TID // without ".service"; the zero TID is not known
	forms  map[string]bool    // words that have a form by which they are found, as they are written
	seen   map[string]bool    // short texts that were learned: most come many times
}

// New returns an empty Set.
func New() *Set {
	return &Set{
		addrs: map[netip.Addr]bool{}, spelt: map[string]netip.Addr{}, nqns: map[string]bool{}, uuids: map[string]bool{}, macs: map[string]bool{},
		wwns: map[string]bool{}, names: map[string]bool{}, ifaces: map[string]bool{}, units: map[string]tid.TID{}, forms: map[string]bool{}, seen: map[string]bool{},
	}
}

// Values that are found in any text by their form.
var (
	// An NQN goes on up to what seldom is in one and often ends one in a text.
	nqnForm  = regexp.MustCompile("nqn\\.[^\\s\"'`,;()<>{}\\[\\]|\\\\…]+")
	uuidForm = regexp.MustCompile(`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|\b[0-9a-fA-F]{32}\b`)
	wwnForm  = regexp.MustCompile(`(?:\b0[xX]|\b[np]n-)[0-9a-fA-F]{16}\b|(?:\b|[np]n-)(?:[0-9a-fA-F]{2}:){7}[0-9a-fA-F]{2}\b`)
	macForm  = regexp.MustCompile(`\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b|\benx[0-9a-f]{12}\b`)
	ipv4Form = regexp.MustCompile(`\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b`)
	ipv6Form = regexp.MustCompile(`[0-9a-fA-F]*:[0-9a-fA-F:]*:[0-9a-fA-F:.]*(?:%[\w.-]+)?`)
	unitForm = regexp.MustCompile(`nvme-discoverd-[0-9a-f]{12}\b`)
	pathForm = regexp.MustCompile("/etc/nvme/[^\\s\"'`,;()<>:]+")
)

// Learn takes a text in.
func (s *Set) Learn(text string) {
	if len(text) < 3 || s.seen[text] {
		return
	}
	if len(text) < 256 {
		s.seen[text] = true
	}
	if strings.Contains(text, "nqn.") {
		for _, nqn := range nqnForm.FindAllString(text, -1) {
			s.LearnNQN(strings.TrimRight(nqn, ".:!?=&"))
		}
	}
	if strings.Contains(text, unitPrefix) {
		for _, unit := range unitForm.FindAllString(text, -1) {
			if _, known := s.units[unit]; !known {
				s.units[unit] = tid.TID{}
			}
		}
	}
	if strings.Contains(text, "/etc/nvme/") {
		for _, path := range pathForm.FindAllString(text, -1) {
			for _, part := range strings.Split(strings.TrimPrefix(path, "/etc/nvme/"), "/") {
				s.learnFile(part)
			}
		}
	}
	for _, id := range uuidForm.FindAllString(text, -1) {
		s.uuids[uuid(id)] = true
		s.forms[id] = true
	}
	if strings.Contains(text, ":") || strings.Contains(text, "0x") || strings.Contains(text, "n-") || strings.Contains(text, "enx") {
		for _, w := range wwnForm.FindAllString(text, -1) {
			s.wwns[wwn(w)] = true
			s.forms[w] = true
		}
		for _, m := range macForm.FindAllString(text, -1) {
			s.macs[mac(m)] = true
			s.forms[m] = true
		}
		for _, a := range ipv6Form.FindAllString(text, -1) {
			s.learnAddr(a)
			s.learnAddr(strings.TrimRight(a, ":.")) // at the end of a sentence
		}
	}
	for _, a := range ipv4Form.FindAllString(text, -1) {
		s.learnAddr(a)
	}
}

func (s *Set) learnAddr(text string) {
	addr, err := netip.ParseAddr(text)
	if err != nil || wwnForm.FindString(text) == text && text != "" {
		return
	}
	s.LearnInterface(addr.Zone())
	s.spelt[text] = addr
	s.addrs[addr.WithZone("").Unmap()] = true
}

// LearnNQN takes in what is used as an NQN, whatever its form.
func (s *Set) LearnNQN(nqn string) {
	if nqn == "" || nqn == tid.DiscoveryNQN {
		return
	}
	for _, id := range uuidForm.FindAllString(nqn, -1) {
		s.uuids[uuid(id)] = true
		s.forms[id] = true
	}
	if before, _, ok := cutUUID(nqn); ok {
		s.nqns[before] = true
	}
	if strings.HasPrefix(nqn, "nqn.") || taken(nqn) {
		s.nqns[nqn] = true
	}
}

// LearnName takes in a name of a host, or of anything else.
func (s *Set) LearnName(name string) {
	if _, err := netip.ParseAddr(name); err == nil {
		s.learnAddr(name)
		return
	}
	for _, name := range []string{name, strings.ToLower(name)} {
		if taken(name) {
			s.names[name] = true
		}
		// "array1" and "example.com" of array1.example.com tell as much.
		if short, domain, ok := strings.Cut(name, "."); ok && tid.HostName(name) != "" {
			for _, part := range []string{short, domain} {
				if taken(part) && (part == short || strings.Contains(part, ".")) {
					s.names[part] = true
				}
			}
		}
	}
}

// plainIface are names of interfaces that the kernel and udev give, which tell of nobody.
var plainIface = regexp.MustCompile(`^(lo|(eth|ib|wlan|bond|team|br|vlan|dummy|veth|tun|tap|usb|net)[0-9]*(\.[0-9]+)?|(en|ib|wl|sl|ww)[opsPafvibcn][0-9a-z]*(\.[0-9]+)?)$`)

// LearnInterface takes in the name of a network interface. Those that the kernel and udev give stay, unless they have a MAC address in them.
func (s *Set) LearnInterface(name string) {
	switch {
	case name == "":
	case macForm.MatchString(name):
		s.macs[mac(name)] = true
		s.forms[name] = true
	case !plainIface.MatchString(name) && taken(name):
		s.ifaces[name] = true
	}
}

// LearnTID takes in a connection: its unit is named by it.
func (s *Set) LearnTID(t tid.TID) {
	s.LearnNQN(t.NQN)
	s.LearnNQN(t.HostNQN)
	s.LearnInterface(t.HostIface)
	for _, text := range []string{t.Traddr, t.HostTraddr, t.HostID} {
		s.Learn(text)
	}
	s.units[strings.TrimSuffix(t.UnitName(), ".service")] = t
}

// files are those below /etc/nvme that have the same name everywhere.
var files = regexp.MustCompile(`^(discoverd|nvme-fabrics|exclusions|discovery|nvme-discoverd|nvme-stas|config)(\.conf|\.json)?(\.d)?$|^(hostnqn|hostid|hostkey|keys|exclusions|\*\.conf|)$`)

func (s *Set) learnFile(name string) {
	if !files.MatchString(name) {
		s.LearnName(strings.TrimSuffix(strings.TrimSuffix(name, "."), ".conf"))
	}
}

// vocabulary are words that texts have for other reasons than that somebody was called so. A name that is one of them stays: nobody can
// tell the two apart, and it tells nothing.
var vocabulary = func() map[string]bool {
	words := map[string]bool{}
	for word := range strings.FieldsSeq(`localhost localdomain nvme tcp rdma loop live new resetting connecting connected reconnecting deleting dead
		waiting excluded foreign stopped parked collision idle blocked inspecting probing queued clearing job associating unknown parking ending
		discovery controller controllers discoverd nbft stas autoconnect active inactive activating deactivating failed reloading start stop restart
		done canceled host hosts target targets subsystem subsystems node server client storage array port ports path paths linux debian fedora
		ubuntu rhel suse systemd kernel unit units service services device devices network interface address addresses error warning info debug
		status report recording state event events effect effects true false none auto always infinity default defaults global persona name names
		the and for not was with that this from none has have will are its it is of on in to by at as or an be no test example admin root user`) {
		words[word] = true
	}
	return words
}()

var numbered = regexp.MustCompile(`^(nvme[0-9]+(c[0-9]+)?(n[0-9]+)?|[0-9]+|ipv[46])$`)

// taken reports whether a name is replaced: it is longer than two letters, and no word of everybody's.
func taken(name string) bool {
	return len(name) > 2 && !vocabulary[strings.ToLower(name)] && !numbered.MatchString(name)
}

const unitPrefix = "nvme-discoverd-"

// cutUUID takes the UUID off the end of an NQN, and what marks it.
func cutUUID(nqn string) (before, id string, ok bool) {
	const mark = ":uuid:"
	i := strings.LastIndex(nqn, mark)
	if i < 0 || !tid.IsUUID(nqn[i+len(mark):]) {
		return nqn, "", false
	}
	return nqn[:i], nqn[i+len(mark):], true
}

// uuid, mac and wwn return a value without what differs between its spellings.
func uuid(s string) string {
	s = strings.ToLower(s)
	if len(s) == 32 {
		s = s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
	}
	return s
}

func mac(s string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(s, "enx"), ":", ""))
}

func wwn(s string) string {
	s = strings.ReplaceAll(strings.ToLower(s), ":", "")
	return s[len(s)-16:]
}

// Names are the stand-ins of what a Set has learned.
type Names struct {
	byWord  map[string]string
	lengths map[[3]byte][]int // of the words that begin so, the longest first
}

// Names makes the stand-ins.
func (s *Set) Names() *Names {
	n := &Names{byWord: map[string]string{}, lengths: map[[3]byte][]int{}}
	number := func(set map[string]bool) map[string]int {
		numbers := map[string]int{}
		for i, value := range slices.Sorted(maps.Keys(set)) {
			numbers[value] = i + 1
		}
		return numbers
	}
	put := func(word, stand string) {
		if len(word) < 3 {
			return
		}
		n.byWord[word] = stand
		begins := [3]byte([]byte(word))
		if !slices.Contains(n.lengths[begins], len(word)) {
			n.lengths[begins] = append(n.lengths[begins], len(word))
		}
	}
	uuids, macs, wwns := number(s.uuids), number(s.macs), number(s.wwns)
	for word := range s.forms {
		switch {
		case uuidForm.FindString(word) == word:
			put(word, uuidStand(uuids[uuid(word)], word))
		case wwnForm.FindString(word) == word:
			put(word, wwnStand(wwns[wwn(word)], word))
		default:
			put(word, macStand(macs[mac(word)], word))
		}
	}
	for name, i := range number(s.names) {
		put(name, fmt.Sprintf("name%04d", i))
		if tid.HostName(name) != "" && strings.Contains(name, ".") {
			put(name, fmt.Sprintf("name%04d.example", i))
		}
	}
	for name, i := range number(s.ifaces) {
		put(name, fmt.Sprintf("if%04d", i))
	}
	nqns := number(s.nqns)
	for nqn := range nqns {
		put(nqn, nqnStand(nqn, nqns, uuids))
	}
	addrs := addressStands(s.addrs)
	for text, addr := range s.spelt {
		stand := addrs[addr.WithZone("").Unmap()]
		if addr.Is4In6() {
			stand = netip.AddrFrom16(stand.As16())
		}
		zone := addr.Zone()
		if to, ok := n.byWord[zone]; ok {
			zone = to
		}
		put(text, stand.WithZone(zone).String())
	}
	n.sort()
	for i, unit := range slices.Sorted(maps.Keys(s.units)) {
		if t := s.units[unit]; t != (tid.TID{}) {
			put(unit, strings.TrimSuffix(n.TID(t).UnitName(), ".service"))
			continue
		}
		h := fnv.New64a()
		fmt.Fprintf(h, "unit %d", i)
		put(unit, fmt.Sprintf("%s%012x", unitPrefix, h.Sum64()&(1<<48-1)))
	}
	n.sort()
	return n
}

func (n *Names) sort() {
	for _, lengths := range n.lengths {
		slices.SortFunc(lengths, func(a, b int) int { return cmp.Compare(b, a) })
	}
}

// TID returns a connection by its stand-ins.
func (n *Names) TID(t tid.TID) tid.TID {
	for _, key := range tid.Keys() {
		value, _ := t.Get(key)
		if key != "transport" && key != "trsvcid" {
			t.Set(key, n.Replace(value))
		}
	}
	return t
}

func uuidStand(i int, as string) string {
	stand := fmt.Sprintf("00000000-0000-4000-8000-%012x", i)
	if len(as) == 32 {
		stand = strings.ReplaceAll(stand, "-", "")
	}
	return inCaseOf(as, stand)
}

// inCaseOf returns the stand-in in capitals where the word has any.
func inCaseOf(as, stand string) string {
	if strings.ContainsAny(as, "ABCDEF") {
		return strings.ToUpper(stand)
	}
	return stand
}

func wwnStand(i int, as string) string {
	digits := fmt.Sprintf("2000%012x", i)
	if strings.Contains(as, ":") {
		digits = colons(digits)
	}
	return as[:len(as)-len(digits)] + digits
}

func macStand(i int, as string) string {
	digits := fmt.Sprintf("02%010x", i) // locally administered
	if strings.Contains(as, ":") {
		return colons(digits)
	}
	return "enx" + digits
}

func colons(digits string) string {
	var pairs []string
	for i := 0; i < len(digits); i += 2 {
		pairs = append(pairs, digits[i:i+2])
	}
	return strings.Join(pairs, ":")
}

func nqnStand(nqn string, nqns, uuids map[string]int) string {
	if before, id, ok := cutUUID(nqn); ok {
		return nqnStand(before, nqns, uuids) + ":uuid:" + uuidStand(uuids[uuid(id)], id)
	}
	switch {
	case nqn == "nqn.2014-08.org.nvmexpress":
		return nqn
	case strings.HasPrefix(nqn, "nqn."):
		return fmt.Sprintf("nqn.2000-01.com.example:n%06d", nqns[nqn])
	}
	return fmt.Sprintf("n%06d", nqns[nqn])
}

// addressStands gives each address one of a network that stands for its own: 198.18.0.0/15, which is meant for tests, and then 10.0.0.0/8
// for IPv4, 2001:db8::/32 for IPv6.
func addressStands(addrs map[netip.Addr]bool) map[netip.Addr]netip.Addr {
	stands := map[netip.Addr]netip.Addr{}
	nets := map[netip.Prefix]int{}
	hosts := map[netip.Prefix]int{}
	for _, a := range slices.SortedFunc(maps.Keys(addrs), netip.Addr.Compare) {
		if a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
			stands[a] = a
			continue
		}
		bits := 64
		if a.Is4() {
			bits = 24
		}
		prefix := netip.PrefixFrom(a, bits).Masked()
		if a.IsLinkLocalUnicast() { // one network
			prefix = netip.PrefixFrom(a, 10).Masked()
		}
		if _, ok := nets[prefix]; !ok {
			nets[prefix] = len(nets)
		}
		hosts[prefix]++
		stands[a] = addressStand(a, nets[prefix], hosts[prefix])
	}
	return stands
}

func addressStand(a netip.Addr, network, host int) netip.Addr {
	hi, lo := byte(host>>8), byte(host)
	switch {
	case a.Is4() && a.IsLinkLocalUnicast():
		return netip.AddrFrom4([4]byte{169, 254, hi, lo})
	case a.Is4() && network < 512:
		return netip.AddrFrom4([4]byte{198, 18 + byte(network>>8), byte(network), byte(host - 1)})
	case a.Is4():
		return netip.AddrFrom4([4]byte{10, byte(network >> 8), byte(network), byte(host - 1)})
	case a.IsLinkLocalUnicast():
		return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 13: byte(host >> 16), 14: hi, 15: lo})
	}
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 4: byte(network >> 24), 5: byte(network >> 16), 6: byte(network >> 8), 7: byte(network), 13: byte(host >> 16), 14: hi, 15: lo})
}

// Replace returns a text with everything replaced that was learned. Where words overlap, the longest counts; a word within a longer one is
// none.
func (n *Names) Replace(text string) string {
	var b strings.Builder
	done := 0
	for i := 0; i+3 <= len(text); {
		length := 0
		if i == 0 || !inWord(text[i-1]) {
			length = n.match(text[i:])
		}
		if length == 0 {
			i++
			continue
		}
		b.WriteString(text[done:i])
		b.WriteString(n.byWord[text[i:i+length]])
		i += length
		done = i
	}
	if done == 0 {
		return text
	}
	b.WriteString(text[done:])
	return b.String()
}

// match returns the length of the longest word with which text begins, 0 for none.
func (n *Names) match(text string) int {
	for _, length := range n.lengths[[3]byte([]byte(text[:3]))] {
		if length > len(text) || length < len(text) && inWord(text[length]) && inWord(text[length-1]) {
			continue
		}
		if _, ok := n.byWord[text[:length]]; ok {
			return length
		}
	}
	return 0
}

// inWord tells whether a byte goes on with a word. Bytes of letters beyond ASCII do.
func inWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
