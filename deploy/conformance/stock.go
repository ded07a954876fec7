package main

import (
	"context"
	"fmt"
	"io"
	"slices"
)

// The rows that a server made of go-diameter's own state machine is known to
// break. A suite that lets it pass is wrong.
const (
	stockFirst = "D-080"
	stockLast  = "D-095"
)

// runStock runs the suite's part for those rows against such a server.
func runStock(ctx context.Context, tests goTest, out io.Writer) error {
	sections, err := parseRows(rowsText)
	if err != nil {
		return err
	}
	e, err := tests.run(ctx, []string{"GYGATE_SUT=stock"}, "-run", "^TestStock$", "./deploy/conformance/suite")
	if err != nil {
		return err
	}
	fmt.Fprintln(out)
	wrong := 0
	for _, j := range judge(sections, e) {
		for _, v := range j.rows {
			if v.id < stockFirst || v.id > stockLast {
				continue
			}
			result := stockResult(v, e)
			if result != stockFails {
				wrong++
			}
			fmt.Fprintf(out, "%s  %-20s %.100s\n", v.id, result, v.requirement)
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d rows do not fail against the stock server: the suite is wrong", wrong)
	}
	fmt.Fprintln(out, "the stock server fails every row, as it must")
	return nil
}

// What a row can do against the stock server.
const (
	stockFails    = "fails, as it must"
	stockPasses   = "PASSES"
	stockUntested = "HAS NO TEST"
)

// stockResult says what became of the row: a single failing test of it is enough.
func stockResult(v verdict, e *evidence) string {
	failed := func(t testKey) bool { return slices.Contains(e.failed, t) }
	switch {
	case slices.ContainsFunc(e.broken[v.id], failed):
		return stockFails
	case len(v.tests) > 0:
		return stockPasses
	}
	return stockUntested
}
