package ocs

// Waiting is how many steps wait for a lane.
func (e *Engine) Waiting() int { return int(e.waiting.Load()) }
