package advise

// Exercise is what the runs of a workload did.
type Exercise struct {
	Container bool
	OneShot   bool // it ended by itself
	Killed    bool // it did not end when it was asked to
	Checks    int
	Healthy   bool // the image's HEALTHCHECK stood for a check
	Helpers   int
	Starts    int  // with the same volumes; 0: one, with the volumes as they were
	Volumes   bool // something can outlive it
}

// NotExercised says what of a workload's life the runs did not show, each with
// what would.
func NotExercised(e Exercise) []string {
	var out []string
	if !e.OneShot && e.Checks == 0 && !e.Healthy {
		out = append(out, "any request to it (--check)")
	}
	if e.Container && e.Volumes {
		switch e.Starts {
		case 0:
			out = append(out, "both an empty and a used volume (--starts 2)")
		case 1:
			out = append(out, "a start with used volumes (--starts 2)")
		}
	}
	if e.Container && !e.OneShot && e.Helpers == 0 {
		out = append(out, "commands started beside it, as by docker exec (--exec)")
	}
	if e.Killed {
		out = append(out, "an orderly stop: it had to be killed (--stop-timeout)")
	}
	return out
}
