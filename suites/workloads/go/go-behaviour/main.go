// Uses what a Go program takes for granted (arguments, environment, stdin, a file,
// goroutines and a channel): shows that Go's runtime works here.
package main

import (
	"fmt"
	"io"
	"os"

	"workloads/guest"
)

func sumOverChannel() int {
	numbers := make(chan int)
	for worker := 0; worker < 10; worker++ {
		go func(worker int) {
			for i := 0; i < 100; i++ {
				numbers <- worker*100 + i
			}
		}(worker)
	}
	sum := 0
	for i := 0; i < 1000; i++ {
		sum += <-numbers
	}
	return sum
}

func main() {
	guest.Announce("go-behaviour")
	stdin := "null"
	if size, err := io.Copy(io.Discard, os.Stdin); err == nil {
		stdin = fmt.Sprint(size)
	}
	greeting, failure := "null", "null"
	if content, err := os.ReadFile("/data/greeting.txt"); err == nil {
		greeting = guest.JSON(string(content))
	} else {
		failure = guest.JSON(err.Error())
	}
	guest.Report(fmt.Sprintf(
		"\"args\":%s,\"env\":%s,\"stdin_bytes\":%s,\"greeting\":%s,\"error\":%s,\"channel_sum\":%d",
		guest.List(os.Args), guest.List(os.Environ()), stdin, greeting, failure, sumOverChannel()))
}
