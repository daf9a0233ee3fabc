// Package stress holds that nothing is lost under load, and that where something is, it is
// said: many checks by many threads, many containers, many short processes, maps that are
// full. Its tests are a short form of its benchmarks, which "make bench" runs.
package stress
