module github.com/gotenure/tenure/cmd/tenure

go 1.26.0

require github.com/gotenure/tenure v0.0.0

replace github.com/gotenure/tenure => ../..
