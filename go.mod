module github.com/perchserver/perch

go 1.26
