package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	mostLeases  = 100
	waitSeconds = 2
	lastWait    = 30 * time.Second
)

type lease struct {
	Job     string `json:"job_id"`
	Attempt int    `json:"attempt"`
}

type success struct {
	lease
	Result map[string]float64 `json:"result"`
}

// work leases jobs and acknowledges them at once, as a worker whose work takes no time.
func (r *Run) work(connection *Connection, name string, stop <-chan struct{}) {
	path := "/api/v1/pools/" + r.options.Namespace + "/" + r.options.Queue
	wanted := fmt.Appendf(nil, `{"worker":%q,"most":%d,"wait_seconds":%d}`, name, mostLeases, waitSeconds)
	for {
		select {
		case <-stop:
			return
		default:
		}
		if err := r.workOnce(connection, path, name, wanted); err != nil {
			r.note(err)
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func (r *Run) workOnce(connection *Connection, path, name string, wanted []byte) error {
	status, answer, err := connection.Post(path+"/lease", wanted)
	at := time.Now()
	if err != nil || status != 200 {
		return fmt.Errorf("lease: %d %v %.200s", status, err, answer)
	}
	var given struct{ Leases []lease }
	if err := json.Unmarshal(answer, &given); err != nil {
		return err
	}
	if len(given.Leases) == 0 {
		return nil
	}
	r.leased(at, given.Leases)
	done := make([]success, len(given.Leases))
	for number, one := range given.Leases {
		done[number] = success{one, map[string]float64{"score": 0.5}}
	}
	body, err := json.Marshal(map[string]any{"worker": name, "successes": done})
	if err != nil {
		return err
	}
	status, answer, err = connection.Post(path+"/acknowledge", body)
	if err != nil || status != 200 {
		return fmt.Errorf("acknowledge: %d %v %.200s", status, err, answer)
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	r.report.Completed += len(values(answer, `"verdict":"accepted`))
	return nil
}

func (r *Run) leased(at time.Time, leases []lease) {
	r.lock.Lock()
	defer r.lock.Unlock()
	for _, one := range leases {
		known := r.journeys[one.Job]
		known.times++
		if known.leased.IsZero() {
			known.leased = at
			if !known.due.IsZero() && !known.due.Before(r.counted) {
				r.leases = append(r.leases, at.Sub(known.due))
			}
		}
		r.journeys[one.Job] = known
	}
}

// awaitLeases waits until all that was acknowledged was leased, as long as that is going on.
func (r *Run) awaitLeases() {
	if r.options.Workers == 0 {
		return
	}
	for left, since := -1, time.Now(); time.Since(since) < lastWait; time.Sleep(50 * time.Millisecond) {
		now := r.unleased()
		if now == 0 {
			return
		}
		if now != left {
			left, since = now, time.Now()
		}
	}
	r.note(errors.New("jobs were acknowledged and not leased"))
	r.failure = errors.New("jobs were acknowledged and not leased")
}

func (r *Run) unleased() (count int) {
	r.lock.Lock()
	defer r.lock.Unlock()
	for _, known := range r.journeys {
		if known.leased.IsZero() {
			count++
		}
	}
	return count
}

func (r *Run) note(err error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.report.Refused[err.Error()]++
}

func describe(refused map[string]int) error {
	text, err := json.Marshal(refused)
	if err != nil {
		return err
	}
	return errors.New(string(text))
}
