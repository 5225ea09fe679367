// Command load sends jobs to the api at a steady rate and prints, as one line of JSON, how long each took.
//
// It is an open loop: each job counts from the moment at which it was due, so that a slow answer cannot hide those
// behind it. It speaks HTTP/1.1 by itself, since it shares its processors with what it measures.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// Options are what the command line says.
type Options struct {
	Addresses  []string
	Token      string
	Namespace  string
	Queue      string
	Rate       float64
	Seconds    float64
	WarmUp     float64
	Senders    int
	Bulk       int
	Workers    int
	Identities string
}

// Report is what is printed.
type Report struct {
	Sent         int            `json:"sent"`
	Acknowledged int            `json:"acknowledged"`
	Refused      map[string]int `json:"refused"`
	Seconds      float64        `json:"seconds"`
	Acks         Percentiles    `json:"ack_ms"`
	Leased       int            `json:"leased"`
	Leases       Percentiles    `json:"lease_ms"`
	Completed    int            `json:"completed"`
	Again        int            `json:"leased_again"`
}

func main() {
	options := parse()
	run := NewRun(options)
	report, identities, err := run.Do()
	if err == nil && options.Identities != "" {
		err = os.WriteFile(options.Identities, []byte(strings.Join(identities, "\n")+"\n"), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(report)
}

func parse() Options {
	var options Options
	var tokenFile, addresses string
	flag.StringVar(&addresses, "address", "127.0.0.1:8000", "host and port of each replica of the api, with commas")
	flag.StringVar(&tokenFile, "token-file", "", "file with the bearer token")
	flag.StringVar(&options.Namespace, "namespace", "team-a", "of the jobs")
	flag.StringVar(&options.Queue, "queue", "default", "of the jobs")
	flag.Float64Var(&options.Rate, "rate", 5000, "jobs a second; 0 sends as fast as answers come")
	flag.Float64Var(&options.Seconds, "seconds", 60, "for how long")
	flag.Float64Var(&options.WarmUp, "warm-up", 3, "seconds before that, at the same rate, which do not count")
	flag.IntVar(&options.Senders, "senders", 256, "connections that submit, each with one request under way")
	flag.IntVar(&options.Bulk, "bulk", 0, "jobs a request; 0 submits them one by one")
	flag.IntVar(&options.Workers, "workers", 0, "connections that lease and acknowledge the jobs")
	flag.StringVar(&options.Identities, "identities", "", "file for the ids of the acknowledged jobs")
	flag.Parse()
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		fmt.Fprintln(os.Stderr, "load: -token-file:", err)
		os.Exit(2)
	}
	options.Addresses = strings.Split(addresses, ",")
	options.Token = strings.TrimSpace(string(token))
	return options
}

func seconds(duration float64) time.Duration { return time.Duration(duration * float64(time.Second)) }
