// SPDX-License-Identifier: GPL-3.0-or-later

// Plot runs the fleet simulation for every policy of back-off, prints the tables of docs/performance.md and draws its plot.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/nvme-discoverd/nvme-discoverd/internal/config"
	"github.com/nvme-discoverd/nvme-discoverd/internal/sim/fleet"
)

// scenario is one way to lose an array. Where the kernels do all the work, the policy does not matter and one run tells.
type scenario struct {
	name    string
	options fleet.Options
	plotted bool
	single  bool
}

var scenarios = []scenario{
	{"down 10 min, controllers removed at once", fleet.Options{Outage: 10 * time.Minute, Loss: fleet.AtOnce}, true, false},
	{"down 15 min, controllers removed at ctrl_loss_tmo (600 s)", fleet.Options{Outage: 15 * time.Minute, Loss: fleet.AtTimeout}, true, false},
	{"down 20 min, controllers removed at ctrl_loss_tmo (600 s)", fleet.Options{Outage: 20 * time.Minute, Loss: fleet.AtTimeout}, false, false},
	{"down 10 min, all hosts told at once that it is back", fleet.Options{Outage: 10 * time.Minute, Loss: fleet.AtOnce, Apart: true}, false, false},
	{"down 5 min, the kernels reconnect alone", fleet.Options{Outage: 5 * time.Minute, Loss: fleet.AtTimeout}, false, true},
}

func main() {
	hosts := flag.Int("hosts", 5000, "how many hosts use the array")
	paths := flag.Int("paths", 16, "paths of each host, every one to another port of the array")
	capacity := flag.Float64("capacity", 500, "connects that the array serves in a second")
	seed := flag.Uint64("seed", 1, "another seed, other random numbers")
	file := flag.String("o", "docs/performance/fleet.svg", "where to write the plot")
	flag.Parse()
	if err := run(fleet.Options{Hosts: *hosts, Paths: *paths, Capacity: *capacity, Seed: *seed}, *file); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(base fleet.Options, file string) error {
	policies := fleet.Policies()
	results, err := runAll(base, policies)
	if err != nil {
		return err
	}
	printNotices(policies, base.Seed)
	var panels []panel
	for i, s := range scenarios {
		printTable(s, policies, results[i])
		if !s.plotted {
			continue
		}
		p := panel{title: "Array " + s.name}
		for j, r := range results[i] {
			p.curves = append(p.curves, curve{policies[j].Name, r.Attempts})
		}
		panels = append(panels, p)
	}
	if err := os.WriteFile(file, []byte(draw(panels, base.Capacity)), 0o644); err != nil {
		return fmt.Errorf("cannot write the plot: %w", err)
	}
	return nil
}

// runAll runs every scenario with every policy, as many at a time as there are processors.
func runAll(base fleet.Options, policies []fleet.Policy) ([][]*fleet.Result, error) {
	results := make([][]*fleet.Result, len(scenarios))
	failures := make([]error, len(scenarios)*len(policies))
	places := make(chan struct{}, runtime.GOMAXPROCS(0))
	var runs sync.WaitGroup
	for i, s := range scenarios {
		n := len(policies)
		if s.single {
			n = 1
		}
		results[i] = make([]*fleet.Result, n)
		for j := range n {
			runs.Go(func() {
				places <- struct{}{}
				defer func() { <-places }()
				o := s.options
				o.Hosts, o.Paths, o.Capacity, o.Seed, o.Delay = base.Hosts, base.Paths, base.Capacity, base.Seed, policies[j].Delay
				results[i][j], failures[i*len(policies)+j] = fleet.Run(o)
			})
		}
	}
	runs.Wait()
	return results, cmp.Or(failures...)
}

// printNotices prints what the policies mean for one host that is alone.
func printNotices(policies []fleet.Policy, seed uint64) {
	limit := config.Defaults().ReconnectMaxDelay
	fmt.Println("| policy | longest wait | target back until noticed: mean | 99 % | attempts an hour, target away |")
	fmt.Println("| --- | --- | --- | --- | --- |")
	for _, p := range policies {
		n := fleet.NoticeOf(p.Delay, limit, 100_000, seed)
		fmt.Printf("| %s | %s | %s | %s | %.0f |\n", p.Name, seconds(n.Longest), seconds(n.Mean), seconds(n.P99), n.PerHour)
	}
}

func printTable(s scenario, policies []fleet.Policy, results []*fleet.Result) {
	fmt.Printf("\n%s\n", strings.ToUpper(s.name[:1])+s.name[1:])
	fmt.Println("| policy | peak attempts/s | attempts | of these dropped | in vain before | 50 % connected | 99 % | 100 % | half of the hosts have a path | all hosts have a path |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for j, r := range results {
		name := policies[j].Name
		if s.single {
			name = "any"
		}
		fmt.Printf("| %s | %d | %d | %d | %d | %s | %s | %s | %s | %s |\n", name, r.Peak(), r.Total(), r.Dropped, r.Vain,
			seconds(fleet.Share(r.Connected, 50)), seconds(fleet.Share(r.Connected, 99)), seconds(fleet.Share(r.Connected, 100)),
			seconds(fleet.Share(r.Hosts, 50)), seconds(fleet.Share(r.Hosts, 100)))
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.0f s", d.Seconds()) }
