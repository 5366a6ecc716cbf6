//go:build !linux

package sockio

import "net"

// TakeListener returns l: package net does all here.
func TakeListener(l net.Listener) (net.Listener, error) { return l, nil }
