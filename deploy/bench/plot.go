package main

import (
	"os"
	"strconv"

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
	plotMargin = 4 * vg.Millimeter
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
	rates.Draw(draw.Crop(canvas, plotMargin, -middle-plotMargin, plotMargin, -plotMargin))
	tails.Draw(draw.Crop(canvas, middle+plotMargin, -plotMargin, plotMargin, -plotMargin))
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
	p.X.Scale, p.Y.Min = plot.LogScale{}, 0
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	var lines []any
	var sessions []plot.Tick
	for _, c := range curves {
		points, ticks := r.points(c.part, value)
		if len(points) > 0 {
			lines, sessions = append(lines, c.title, points), ticks
		}
	}
	if len(lines) == 0 {
		return nil, nil
	}
	p.X.Tick.Marker = plot.ConstantTicks(sessions)
	p.Y.Tick.Marker = plot.TickerFunc(wholeTicks)
	if err := plotutil.AddLinePoints(p, lines...); err != nil {
		return nil, err
	}
	p.Y.Max *= 1 + plotRoom
	return p, nil
}

// plotRoom is what is left above the highest point, for the legend.
const plotRoom = 0.25

// points are those of one curve, and its numbers of sessions.
func (r *report) points(part string, value func(*result) float64) (points plotter.XYs, sessions []plot.Tick) {
	for i := range r.Results {
		if one := &r.Results[i]; one.Part == part {
			points = append(points, plotter.XY{X: float64(one.InFlight), Y: value(one)})
			sessions = append(sessions, plot.Tick{Value: float64(one.InFlight), Label: strconv.Itoa(one.InFlight)})
		}
	}
	return points, sessions
}

// wholeTicks labels an axis with whole numbers.
func wholeTicks(low, high float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(low, high)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = strconv.FormatFloat(ticks[i].Value, 'f', 0, 64)
		}
	}
	return ticks
}
