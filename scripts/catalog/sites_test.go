package main

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestDefines(t *testing.T) {
	src := []byte(`
static bool declared(int a);
int called(void)
{
	if (used(1)) {
		return 0;
	}
	return 1;
}

static int
split(struct file *f,
      int a)
{
}

static __always_inline bool annotated(int a)
	__must_hold(x)
{
}

SYSCALL_DEFINE1(chroot, const char __user *, filename)
{
}
`)
	for name, want := range map[string]bool{
		"called": true, "split": true, "annotated": true, "chroot": true,
		"declared": false, "used": false, "call": false, "alled": false, "none": false,
	} {
		if got := defines(src, name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestSites(t *testing.T) {
	places := kernelPlaces()
	if len(places) < 150 {
		t.Errorf("the catalog cites %d places", len(places))
	}
	// A kernel that has them all, but the last one's function and the first one's file.
	tree := fstest.MapFS{}
	for _, place := range places {
		file, function, _ := strings.Cut(place, ":")
		if tree[file] == nil {
			tree[file] = &fstest.MapFile{}
		}
		tree[file].Data = append(tree[file].Data, "int "+function+"(void)\n{\n}\n"...)
	}
	var out strings.Builder
	if err := sites(&out, tree); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	firstFile, _, _ := strings.Cut(places[0], ":")
	lastFile, lastFunction, _ := strings.Cut(places[len(places)-1], ":")
	delete(tree, firstFile)
	tree[lastFile] = &fstest.MapFile{Data: []byte("int " + lastFunction + "(void);\n")}
	out.Reset()
	err := sites(&out, tree)
	if err == nil || !strings.Contains(out.String(), places[0]+": no such file\n") || !strings.Contains(out.String(), places[len(places)-1]+": no such function\n") {
		t.Errorf("%v: %s", err, out.String())
	}
}
