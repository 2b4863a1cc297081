// Sessions of Go's crypto/tls with itself over loopback, for the decryption matrix: one case a line of standard input,
// "name port version suite curve options", where options are joined with commas (mutual, resume, ec, notickets).
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

func check(err error, what string) {
	if err != nil {
		fmt.Fprintln(os.Stderr, what, err)
		os.Exit(1)
	}
}

func answer() []byte {
	block := make([]byte, 256)
	for i := range block {
		block[i] = byte(i)
	}
	return bytes.Repeat(block, 80)
}

func serve(listener *tls.Conn, name string) {
	defer listener.Close()
	request := make([]byte, len("request "+name+"\n"))
	if _, err := io.ReadFull(listener, request); err != nil {
		return
	}
	listener.Write(answer())
	exit := make([]byte, 5)
	io.ReadFull(listener, exit)
	listener.Write([]byte("bye\n"))
}

func main() {
	folder := os.Args[1]
	log, err := os.OpenFile(folder+"/go.log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0600)
	check(err, "key log")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Split(lines.Text(), " ")
		name, port, options := words[0], words[1], words[5]
		number := func(text string) uint16 { n, err := strconv.ParseUint(text, 0, 16); check(err, text); return uint16(n) }
		kind := "rsa"
		if strings.Contains(options, "ec") {
			kind = "ec"
		}
		pair, err := tls.LoadX509KeyPair(folder+"/"+kind+".crt", folder+"/"+kind+".key")
		check(err, "certificate")
		version := number(words[2])
		server := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: version, MaxVersion: version}
		client := &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, KeyLogWriter: log}
		if suite := number(words[3]); suite != 0 {
			server.CipherSuites, client.CipherSuites = []uint16{suite}, []uint16{suite}
		}
		if curve := number(words[4]); curve != 0 {
			server.CurvePreferences = []tls.CurveID{tls.CurveID(curve)}
		}
		if strings.Contains(options, "mutual") {
			client.Certificates = server.Certificates
			server.ClientAuth = tls.RequireAnyClientCert
			server.ClientCAs = x509.NewCertPool()
		}
		if strings.Contains(options, "notickets") {
			server.SessionTicketsDisabled = true
		}
		rounds := 1
		if strings.Contains(options, "resume") {
			client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
			rounds = 2
		}
		listener, err := tls.Listen("tcp", "127.0.0.1:"+port, server)
		check(err, "listen")
		for round := 0; round < rounds; round++ {
			done := make(chan bool)
			go func() {
				connection, err := listener.Accept()
				check(err, "accept")
				serve(connection.(*tls.Conn), name)
				done <- true
			}()
			connection, err := tls.Dial("tcp", "127.0.0.1:"+port, client)
			check(err, name)
			connection.Write([]byte("request " + name + "\n"))
			_, err = io.ReadFull(connection, make([]byte, len(answer())))
			check(err, name)
			connection.Write([]byte("exit\n"))
			io.ReadAll(connection)
			connection.Close()
			<-done
		}
		listener.Close()
	}
}
