package main

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"
)

const tick = 500 * time.Microsecond

// Run is one load: senders that submit what has become due, and workers that lease what was submitted.
type Run struct {
	options Options
	begin   time.Time
	counted time.Time
	end     time.Time

	lock     sync.Mutex
	report   Report
	acks     []time.Duration
	leases   []time.Duration
	journeys map[string]journey
	failure  error
}

// journey is a job under way: it can be leased before its sender has read that it was taken.
type journey struct {
	due    time.Time
	leased time.Time
	times  int
}

func NewRun(options Options) *Run {
	return &Run{options: options, journeys: map[string]journey{}, report: Report{Refused: map[string]int{}}}
}

// Do returns once every job that was due has its answer and, with workers, every acknowledged job was leased.
func (r *Run) Do() (Report, []string, error) {
	r.begin = time.Now()
	r.counted = r.begin.Add(seconds(r.options.WarmUp))
	r.end = r.counted.Add(seconds(r.options.Seconds))
	due := make(chan time.Time, 1<<20)
	var senders, workers sync.WaitGroup
	stop := make(chan struct{})
	for number := range r.options.Senders {
		senders.Go(func() { r.send(r.connection(number), due) })
	}
	for number := range r.options.Workers {
		workers.Go(func() { r.work(r.connection(number), "load-"+strconv.Itoa(number), stop) })
	}
	r.clock(due)
	senders.Wait()
	r.report.Seconds = time.Since(r.counted).Seconds()
	r.awaitLeases()
	close(stop)
	workers.Wait()
	return r.finish()
}

// clock says when each request is due; without a rate there is always one.
func (r *Run) clock(due chan<- time.Time) {
	defer close(due)
	each := max(1, r.options.Bulk)
	for number := 0; ; {
		now := time.Now()
		if now.After(r.end) {
			return
		}
		if r.options.Rate <= 0 {
			due <- time.Time{}
			continue
		}
		for at := r.moment(number, each); !at.After(now) && at.Before(r.end); at = r.moment(number, each) {
			due <- at
			number++
		}
		time.Sleep(tick)
	}
}

func (r *Run) moment(number, each int) time.Time {
	return r.begin.Add(seconds(float64(number*each) / r.options.Rate))
}

// connection is the one of the nth sender or worker: they take turns with the replicas of the api.
func (r *Run) connection(number int) *Connection {
	addresses := r.options.Addresses
	return &Connection{address: addresses[number%len(addresses)], token: r.options.Token}
}

func (r *Run) send(connection *Connection, due <-chan time.Time) {
	path, body := "/api/v1/jobs/", r.body()
	if r.options.Bulk > 0 {
		path = "/api/v1/jobs/bulk"
	}
	for at := range due {
		if at.IsZero() {
			if at = time.Now(); at.After(r.end) {
				continue
			}
		}
		status, answer, err := connection.Post(path, body)
		r.sent(at, status, answer, err)
	}
}

func (r *Run) body() []byte {
	job := `{"job_type":"inference","priority":80,"image":"pytorch-inference:latest","execution":"pool","namespace":"` +
		r.options.Namespace + `","queue":"` + r.options.Queue + `","config":{"model":"resnet50","batch_size":32},` +
		`"env":[{"name":"PADDING","value":"` + strings.Repeat("x", 160) + `"}]}`
	if r.options.Bulk == 0 {
		return []byte(job)
	}
	return []byte("[" + strings.Repeat(job+",", r.options.Bulk-1) + job + "]")
}

func (r *Run) sent(due time.Time, status int, answer []byte, err error) {
	took := time.Since(due)
	identities := values(answer, `"job_id":"`)
	r.lock.Lock()
	defer r.lock.Unlock()
	counts := !due.Before(r.counted)
	each := max(1, r.options.Bulk)
	if counts {
		r.report.Sent += each
	}
	if err != nil || status >= 300 || len(identities) != each {
		r.refuse(status, err)
		return
	}
	if counts {
		r.report.Acknowledged += each
		r.acks = append(r.acks, took)
	}
	for _, identity := range identities {
		known := r.journeys[identity]
		known.due = due
		r.journeys[identity] = known
		if !known.leased.IsZero() && counts {
			r.leases = append(r.leases, known.leased.Sub(due))
		}
	}
}

func (r *Run) refuse(status int, err error) {
	if err != nil {
		r.report.Refused[err.Error()]++
		return
	}
	r.report.Refused[strconv.Itoa(status)]++
}

// values are the strings that follow a mark; the answers are our own and escape nothing in them.
func values(text []byte, mark string) []string {
	var found []string
	for {
		_, rest, ok := bytes.Cut(text, []byte(mark))
		if !ok {
			return found
		}
		end := bytes.IndexByte(rest, '"')
		if end < 0 {
			return found
		}
		found = append(found, string(rest[:end]))
		text = rest[end:]
	}
}

func (r *Run) finish() (Report, []string, error) {
	r.report.Acks, r.report.Leases = percentiles(r.acks), percentiles(r.leases)
	r.report.Leased = len(r.leases)
	identities := make([]string, 0, len(r.journeys))
	for identity, known := range r.journeys {
		if !known.due.IsZero() {
			identities = append(identities, identity)
		}
		if known.times > 1 {
			r.report.Again++
		}
	}
	if r.failure == nil && len(r.acks) == 0 {
		return r.report, identities, errors.Join(errors.New("nothing was acknowledged"), describe(r.report.Refused))
	}
	return r.report, identities, r.failure
}
