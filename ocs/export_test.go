package ocs

// LaneAloneMax is the engine's limit of that name.
const LaneAloneMax = laneAloneMax

// Waiting is how many steps wait for a lane.
func (e *Engine) Waiting() int { return int(e.waiting.Load()) }
