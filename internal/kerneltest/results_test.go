//go:build linux

package kerneltest

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

const printed = "noise\n" + beginMark + "a x/y\n" +
	"\x16=== RUN   TestOne\n\x16=== RUN   TestOne/sub\n    f.go:1: this test needs Docker (none)\n\x16=== NAME  TestOne\n\x16--- FAIL: TestOne (0.10s)\n    \x16--- SKIP: TestOne/sub (0.00s)\n" +
	"\x16=== RUN   TestSets\n\x16=== RUN   TestSets/runc\n\x16=== RUN   TestSets/runc/p\n\x16=== RUN   TestSets/runc/q\n" +
	"\x16--- FAIL: TestSets (0.10s)\n    \x16--- FAIL: TestSets/runc (0.10s)\n        \x16--- PASS: TestSets/runc/p (0.00s)\n        \x16--- FAIL: TestSets/runc/q (0.00s)\n" +
	"\x16FAIL\nlast words" + doneMark + "1\n" + beginMark + "b\npanic: x\n"

func TestParse(t *testing.T) {
	runs, err := Parse(t.Context(), []byte(printed))
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) != 2 || runs[0].Name != "a x/y" || runs[0].Status != 1 || runs[1].Name != "b" || runs[1].Status != -1 {
		t.Fatalf("got %+v", runs)
	}
	if !strings.Contains(runs[0].Output, "last words") || !strings.Contains(runs[1].Output, "panic: x") {
		t.Errorf("output %q, %q", runs[0].Output, runs[1].Output)
	}
	if len(runs[0].Tests) != 2 || runs[0].Tests[0].Result != "fail" || len(runs[0].Tests[0].Skipped) != 1 ||
		runs[0].Tests[0].Skipped[0].Name != "TestOne/sub" || !strings.Contains(runs[0].Tests[0].Skipped[0].Output, "needs Docker") {
		t.Errorf("got %+v", runs[0].Tests)
	}
	exact, of, ok := CellOf(runs[0])
	if !ok || !reflect.DeepEqual(exact, map[string]int{"runc": 1}) || !reflect.DeepEqual(of, map[string]int{"runc": 2}) {
		t.Errorf("exact %v of %v", exact, of)
	}
	if _, _, ok := CellOf(runs[1]); ok {
		t.Error("sets of a run that had none")
	}
}

func TestTable(t *testing.T) {
	dir := t.TempDir()
	cells := []Cell{
		{Kernel: "6.12", Release: "6.12.1-x", Cgroups: Hybrid, Way: "kprobe/cap_capable", Exact: map[string]int{"runc": 1}, Of: map[string]int{"runc": 2}},
		{Kernel: "5.10", Release: "5.10.1-x", Cgroups: V2, Way: "fexit/cap_capable", Exact: map[string]int{"runc": 2}, Of: map[string]int{"runc": 2}},
		{Kernel: "6.12", Release: "6.12.1-x", Cgroups: V2, Way: "kprobe/cap_capable", Exact: map[string]int{"crun": 3}, Of: map[string]int{"crun": 3}},
	}
	for guest, of := range map[string][]Cell{"6.12-hybrid": cells[:1], "5.10": cells[1:2], "6.12": cells[2:]} {
		if err := Save(dir, guest, of); err != nil {
			t.Fatal(err)
		}
	}
	back, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := SaveCosts(dir, Costs{"6.12", "6.12.1-x", []Cost{{"nothing", 1000, 0}, {"kprobe/cap_capable", 1500, 1}, {"another", 3000, .999}}}); err != nil {
		t.Fatal(err)
	}
	costs, err := LoadCosts(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Table(&b, back, costs, []string{"runc", "crun"}); err != nil {
		t.Fatal(err)
	}
	const want = "| Linux | cgroups | way in | runc | crun |\n|---|---|---|---|---|\n" +
		"| 5.10.1-x | v2 | fexit/cap_capable | exact (2) | not run |\n| 6.12.1-x | v2 | kprobe/cap_capable | not run | exact (3) |\n| 6.12.1-x | hybrid | kprobe/cap_capable | 1 of 2 | not run |\n\n"
	if !strings.Contains(b.String(), want) {
		t.Errorf("got\n%s\nwant in it\n%s", b.String(), want)
	}
	const cost = "| 6.12.1-x | nothing | 0 | 1.00 | - |\n| 6.12.1-x | kprobe/cap_capable | 500 | 1.50 | 100 % |\n| 6.12.1-x | another | 2000 | 3.00 | 99 % |\n"
	if !strings.HasSuffix(b.String(), cost) {
		t.Errorf("got\n%s\nwant at its end\n%s", b.String(), cost)
	}
}
