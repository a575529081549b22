package core

import "time"

// backoff returns how long to wait after attempt number n (from 1): 1 s, 2 s, 4 s … up to max, ±10 %.
func (m *Machine) backoff(n int, limit time.Duration) time.Duration {
	d := limit
	if n <= 32 {
		d = min(limit, time.Second<<(n-1))
	}
	return time.Duration(float64(d) * (0.9 + 0.2*m.rng.Float64()))
}
