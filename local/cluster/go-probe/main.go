// Command probe is what the cluster's own tests run in pods. It writes what it saw as its termination message:
//
//	probe api PATH       the answer of the API server at its Service address, asked with the pod's own token
//	probe memory MEBIBYTES   nothing: it touches that much memory, and is killed where the limit is lower
//	probe serve PORT     nothing: it answers every HTTP request with "served", until it is killed
//	probe get URL        the answer of that address, asked for until there is one: a Service takes a moment to be known
//	probe write FILE     "written", after it has appended a line to that file
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

const account = "/var/run/secrets/kubernetes.io/serviceaccount/"

func main() {
	message, err := probe(os.Args[1], os.Args[2])
	if err != nil {
		message = err.Error()
	}
	fmt.Println(message)
	if report := os.WriteFile("/dev/termination-log", []byte(message), 0o644); report != nil {
		fmt.Println(report)
	}
	if err != nil {
		os.Exit(1)
	}
}

func probe(what, argument string) (string, error) {
	switch what {
	case "api":
		return askAPIServer(argument)
	case "memory":
		return fillMemory(argument)
	case "serve":
		return "", http.ListenAndServe(":"+argument, http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(answer, "served")
		}))
	case "get":
		return getEventually(argument)
	case "write":
		return "written", appendLine(argument)
	}
	return "", fmt.Errorf("unknown probe %q", what)
}

func askAPIServer(path string) (string, error) {
	token, err := os.ReadFile(account + "token")
	if err != nil {
		return "", err
	}
	authority, err := os.ReadFile(account + "ca.crt")
	if err != nil {
		return "", err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(authority)
	client := &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}},
		Timeout:   10 * time.Second,
	}
	server := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	return get(client, "https://"+server+path, "Bearer "+string(token))
}

func getEventually(url string) (string, error) {
	client := &http.Client{Timeout: 2 * time.Second}
	answer, err := get(client, url, "")
	for end := time.Now().Add(30 * time.Second); err != nil && time.Now().Before(end); {
		time.Sleep(200 * time.Millisecond)
		answer, err = get(client, url, "")
	}
	return answer, err
}

func get(client *http.Client, url, authorization string) (string, error) {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", authorization)
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 3000))
	return fmt.Sprintf("%d %s", answer.StatusCode, body), err
}

func fillMemory(mebibytes string) (string, error) {
	count, err := strconv.Atoi(mebibytes)
	if err != nil {
		return "", err
	}
	held := make([]byte, count<<20)
	for at := 0; at < len(held); at += 4096 {
		held[at] = 1
	}
	return fmt.Sprintf("held %d MiB", len(held)>>20), nil
}

func appendLine(file string) error {
	opened, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer opened.Close()
	_, err = opened.WriteString("a line\n")
	return err
}
