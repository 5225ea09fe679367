package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

const patience = 60 * time.Second

// Connection is one keep-alive connection, for one request at a time; it is opened anew where the server closed it.
type Connection struct {
	address, token string
	socket         net.Conn
	reader         *bufio.Reader
	request, body  []byte
}

// Post sends a body and returns the status and the answer's body, which is good until the next call.
func (c *Connection) Post(path string, body []byte) (int, []byte, error) {
	if c.socket == nil {
		socket, err := net.DialTimeout("tcp", c.address, patience)
		if err != nil {
			return 0, nil, err
		}
		c.socket, c.reader = socket, bufio.NewReaderSize(socket, 64<<10)
	}
	c.request = fmt.Appendf(c.request[:0],
		"POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		path, c.address, c.token, len(body))
	c.request = append(c.request, body...)
	_ = c.socket.SetDeadline(time.Now().Add(patience))
	if _, err := c.socket.Write(c.request); err != nil {
		return 0, nil, c.fail(err)
	}
	status, length, closes, err := c.head()
	if err != nil {
		return 0, nil, c.fail(err)
	}
	if cap(c.body) < length {
		c.body = make([]byte, length)
	}
	c.body = c.body[:length]
	if _, err := io.ReadFull(c.reader, c.body); err != nil {
		return 0, nil, c.fail(err)
	}
	if closes {
		_ = c.fail(nil)
	}
	return status, c.body, nil
}

func (c *Connection) fail(err error) error {
	_ = c.socket.Close()
	c.socket = nil
	return err
}

func (c *Connection) head() (status, length int, closes bool, err error) {
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return 0, 0, false, err
	}
	if len(line) < 12 {
		return 0, 0, false, fmt.Errorf("not HTTP: %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, 0, false, err
	}
	for {
		if line, err = c.reader.ReadSlice('\n'); err != nil {
			return 0, 0, false, err
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			return status, length, closes, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch value = bytes.TrimSpace(value); {
		case bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, 0, false, err
			}
		case bytes.EqualFold(name, []byte("connection")):
			closes = bytes.EqualFold(value, []byte("close"))
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			return 0, 0, false, fmt.Errorf("chunked answers are not read here")
		}
	}
}
