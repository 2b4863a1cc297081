// TLS connections of a program with itself: tls_pair VERSION CONNECTIONS KEYLOG [ADDRESS]. Waits for a line on standard input before it
// listens and for another before the first connection, writes its own key log, and prints what arrived.
package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"os"
	"strconv"
	"time"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func main() {
	versions := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
	version := versions[os.Args[1]]
	connections, err := strconv.Atoi(os.Args[2])
	check(err)
	log, err := os.Create(os.Args[3])
	check(err)
	server := &tls.Config{Certificates: []tls.Certificate{certificate()}, MinVersion: version, MaxVersion: version, KeyLogWriter: log}
	address := "127.0.0.1:0"
	if len(os.Args) > 4 {
		address = os.Args[4]
	}
	input := bufio.NewReader(os.Stdin)
	wait := func() {
		_, err := input.ReadString('\n')
		check(err)
	}
	wait()
	listener, err := tls.Listen("tcp", address, server)
	check(err)
	go func() {
		for {
			connection, err := listener.Accept()
			check(err)
			go io.Copy(connection, connection)
		}
	}()
	fmt.Println(listener.Addr())
	wait()
	for number := 0; number < connections; number++ {
		client := &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, KeyLogWriter: log}
		connection, err := tls.Dial("tcp", listener.Addr().String(), client)
		check(err)
		fmt.Fprintf(connection, "hello %d\n", number)
		line, err := bufio.NewReader(connection).ReadString('\n')
		check(err)
		fmt.Print(line)
		connection.Close()
	}
}
