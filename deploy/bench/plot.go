package main

import (
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

const (
	plotWidth  = 22 * vg.Centimeter
	plotHeight = 11 * vg.Centimeter
)

// curves are the parts that are drawn, and how they are called.
var curves = []struct{ part, title string }{{"limit", "limit"}, {"engine", "engine"}, {"diameter", "Diameter"}}

// plot draws throughput and p99 against the number of sessions, side by side. A run
// without the curve leaves the last picture.
func (r *report) plot(path string) error {
	rates, err := r.chart("CCR/s", func(one *result) float64 { return one.Rate })
	if err != nil {
		return err
	}
	tails, err := r.chart("p99, ms", func(one *result) float64 { return one.Latency.P99 })
	if err != nil || rates == nil {
		return err
	}
	image := vgimg.New(plotWidth, plotHeight)
	canvas := draw.New(image)
	middle := (canvas.Max.X - canvas.Min.X) / 2
	rates.Draw(draw.Crop(canvas, 0, -middle, 0, 0))
	tails.Draw(draw.Crop(canvas, middle, 0, 0, 0))
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := (vgimg.PngCanvas{Canvas: image}).WriteTo(file); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

// chart is one value of all curves, nil when there is no curve.
func (r *report) chart(label string, value func(*result) float64) (*plot.Plot, error) {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "sessions at a time", label
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{}
	p.Y.Min = 0
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	var lines []any
	for _, c := range curves {
		var points plotter.XYs
		for i := range r.Results {
			if one := &r.Results[i]; one.Part == c.part {
				points = append(points, plotter.XY{X: float64(one.InFlight), Y: value(one)})
			}
		}
		if len(points) > 0 {
			lines = append(lines, c.title, points)
		}
	}
	if len(lines) == 0 {
		return nil, nil
	}
	return p, plotutil.AddLinePoints(p, lines...)
}
