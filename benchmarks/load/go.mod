module muster/benchmarks/load

go 1.25
