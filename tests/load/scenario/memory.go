package scenario

import "context"

// memoryCase reports what the nodes of the cases before it held at most. It
// measures nothing itself, so it is the last.
func memoryCase() Case {
	return Case{
		Group: "memory", Name: "memory", Needs: ownNodes,
		Rows: []Row{{
			Figure: PeakMemory, Title: "peak memory of the server, all but streams", Unit: "MB", LessIsBetter: true, AtMost: 200,
		}},
		Seconds: func(*Env) float64 { return 0 },
		Ours: func(_ context.Context, e *Env) (Figures, error) {
			f := Figures{}
			if peak := e.Stand.Peak(); peak > 0 {
				f[PeakMemory] = float64(peak) / (1 << 20)
			}
			return f, nil
		},
	}
}
