module github.com/perchserver/perch/bench

go 1.26.0

require (
	github.com/perchserver/perch v0.0.0
	golang.org/x/sys v0.50.0
)

require (
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/text v0.44.0 // indirect
)

replace github.com/perchserver/perch => ../
