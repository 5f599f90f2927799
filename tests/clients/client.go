// The HTTP client of Go's standard library, on which the official Go SDK is built. See README.md for the plan and the
// output.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const patience = 60 * time.Second

var codePattern = regexp.MustCompile(`"code":\s*"(\w+)"`)

type request struct {
	session, index, method, url, framing string
	body                                 []byte
	headers                              []string
}

func main() {
	plan, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	client, session := newClient(), ""
	for _, line := range strings.Split(string(plan), "\n")[1:] {
		if line == "" {
			continue
		}
		request := parse(line)
		if request.session != session {
			client.CloseIdleConnections()
			client, session = newClient(), request.session
		}
		status, code, err := send(client, request)
		if err != nil {
			status, code = "error", strings.Join(strings.Fields(err.Error()), " ")
		}
		fmt.Println(strings.Join([]string{"go", request.session, request.index, status, code}, "\t"))
	}
}

func newClient() *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{}}
}

func parse(line string) request {
	fields := strings.Split(line, "\t")
	return request{fields[0], fields[1], fields[2], fields[3], fields[4], bodyOf(fields[5]), fields[6:]}
}

func bodyOf(text string) []byte {
	if said, ok := strings.CutPrefix(text, "text:"); ok {
		return []byte(said)
	}
	size, err := strconv.Atoi(strings.TrimPrefix(text, "size:"))
	if err != nil {
		panic(err)
	}
	return bytes.Repeat([]byte("a"), size)
}

func send(client *http.Client, request request) (status, code string, err error) {
	var body io.Reader
	switch request.framing {
	case "length":
		body = bytes.NewReader(request.body)
	case "chunked":
		// The wrapper hides the length, so the client sends chunks.
		body = struct{ io.Reader }{bytes.NewReader(request.body)}
	}
	sent, err := http.NewRequest(request.method, request.url, body)
	if err != nil {
		return "", "", err
	}
	for _, header := range request.headers {
		name, value, _ := strings.Cut(header, ": ")
		sent.Header.Set(name, value)
	}
	answer, err := client.Do(sent)
	if err != nil {
		return "", "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", "", err
	}
	code = "-"
	if found := codePattern.FindSubmatch(text); found != nil {
		code = string(found[1])
	}
	return strconv.Itoa(answer.StatusCode), code, nil
}
