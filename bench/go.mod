module github.com/perchserver/perch/bench

go 1.26.0
