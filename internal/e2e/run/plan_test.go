package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestPlan(t *testing.T) {
	all := []string{"TestA", "TestRDMAReset", "TestPowerOff_1", "TestPowerOff_2", "TestB", "TestFCLoss", "TestFCBoot_1", "TestFCBoot_2"}
	tests := []struct{ name, pattern, want string }{
		{
			"all", "",
			"cloud=cloud TestA TestB; ordinary=ordinary TestRDMAReset; apart=cloud TestFCLoss; TestFCBoot_1=cloud TestFCBoot_1; " +
				"TestFCBoot_2=cloud TestFCBoot_2; TestPowerOff_1=cloud TestPowerOff_1; TestPowerOff_2=cloud TestPowerOff_2",
		},
		{"one kernel only", "RDMA", "ordinary=ordinary TestRDMAReset"},
		{"a stage brings the others", "Off_2$", "TestPowerOff_1=cloud TestPowerOff_1; TestPowerOff_2=cloud TestPowerOff_2"},
		{"a story by its name", "^TestPowerOff", "TestPowerOff_1=cloud TestPowerOff_1; TestPowerOff_2=cloud TestPowerOff_2"},
		{"subtests", "^TestA$/x", "cloud=cloud TestA"},
		{"none", "TestZ", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			chosen, err := choose(all, test.pattern)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, b := range plan(chosen, 1) {
				got = append(got, fmt.Sprintf("%s=%s %s", b.name, b.kernel, strings.Join(b.scenarios, " ")))
			}
			if got := strings.Join(got, "; "); got != test.want {
				t.Errorf("boots:\ngot  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestChooseBadPattern(t *testing.T) {
	_, err := choose(nil, "(")
	if want := "cannot read -run: error parsing regexp: missing closing ): `(`"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestArguments(t *testing.T) {
	tests := []struct {
		name, pattern string
		boot          boot
		count         int
		want          string
	}{
		{"usual", "", boot{scenarios: []string{"TestA", "TestB"}}, 1, "-test.run=^(TestA|TestB)$"},
		{"subtests", "A|B/x", boot{scenarios: []string{"TestA", "TestB"}}, 1, "-test.run=^(TestA|TestB)$/x"},
		{"repeated", "", boot{scenarios: []string{"TestA"}}, 3, "-test.run=^(TestA)$ -test.count=3"},
		{"a stage is repeated by more boots", "", boot{scenarios: []string{"TestA_1"}, story: "TestA"}, 3, "-test.run=^(TestA_1)$"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, want := strings.Join(test.boot.arguments(test.pattern, test.count), " "), "-test.v -test.timeout=0 "+test.want
			if got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestStoriesRepeated(t *testing.T) {
	var got []string
	for _, b := range plan([]string{"TestA_1", "TestA_2"}, 2) {
		got = append(got, fmt.Sprintf("%s %v", b.name, b.first))
	}
	if got, want := strings.Join(got, "; "), "TestA_1 true; TestA_2 false; TestA_1 true; TestA_2 false"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
