package probe

// The objects are committed, so that building needs no clang; `make generate`
// makes them again and CI compares.
//
//go:generate go tool bpf2go -cc clang -target amd64,arm64 -tags linux -go-package probe -output-stem leastcap -type scope -type totals -type totals_key -type evidence -type evidence_key -type exe -type exe_key -type exec_event -type identity -type identity_key -type port -type port_key -type sysinfo -type walk -type refusal -type refusal_key -type begun -type memo -type capstate -type kind -type loss -type special bpf bpf/leastcap.bpf.c -- -O2 -g -Wall -Werror -I bpf
//go:generate go tool bpf2go -cc clang -target amd64,arm64 -tags linux -go-package probe -output-stem tasks -type task_entry tasks bpf/tasks.bpf.c -- -O2 -g -Wall -Werror -I bpf
//go:generate go tool bpf2go -cc clang -target amd64,arm64 -tags linux -go-package probe -output-stem symbols ksyms bpf/symbols.bpf.c -- -O2 -g -Wall -Werror -I bpf
//go:generate go test -vet=off -run=^TestSystemCalls$ -count=1 . -update
