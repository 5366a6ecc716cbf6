package listen

import "golang.org/x/sys/windows"

const (
	errnoTaken  = windows.WSAEADDRINUSE
	errnoDenied = windows.WSAEACCES
)
