package wire

import (
	"bytes"
	"context"
	"fmt"
	"io"
)

// Event is one event of a stream. Its slices are good until the next one.
type Event struct {
	Name []byte
	ID   []byte
	Data []byte
}

// Stream is an open text/event-stream.
type Stream struct {
	conn    *Conn
	chunked bool
	left    int  // of the chunk
	ended   bool // a chunk was read, but not the line end that follows it
	line    []byte
	event   Event
}

// OpenStream sends the request and reads the head of its answer.
func OpenStream(ctx context.Context, target Target, request []byte) (*Stream, error) {
	conn, err := Dial(ctx, target)
	if err != nil {
		return nil, err
	}
	if _, err := conn.conn.Write(request); err != nil {
		conn.Close()
		return nil, err
	}
	head, err := conn.readHead()
	if err == nil && head.status != 200 {
		err = fmt.Errorf("a stream was answered with %d", head.status)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &Stream{conn: conn, chunked: head.chunked}, nil
}

// Close ends the stream.
func (s *Stream) Close() { s.conn.Close() }

// Next waits for the next event that has data. Comments and retry are passed
// over; several data lines are joined by line ends, as the standard says.
func (s *Stream) Next() (Event, error) {
	s.event = Event{s.event.Name[:0], s.event.ID[:0], s.event.Data[:0]}
	lines := 0
	for {
		line, err := s.readLine()
		if err != nil {
			return Event{}, err
		}
		if len(line) == 0 {
			if lines > 0 {
				return s.event, nil
			}
			s.event.Name = s.event.Name[:0]
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "data":
			if lines > 0 {
				s.event.Data = append(s.event.Data, '\n')
			}
			s.event.Data = append(s.event.Data, value...)
			lines++
		case "event":
			s.event.Name = append(s.event.Name[:0], value...)
		case "id":
			s.event.ID = append(s.event.ID[:0], value...)
		}
	}
}

// readLine reads a line without its end, across the borders of chunks.
func (s *Stream) readLine() ([]byte, error) {
	s.line = s.line[:0]
	for {
		if s.chunked && s.left == 0 {
			if err := s.nextChunk(); err != nil {
				return nil, err
			}
		}
		part, err := s.readPart()
		if err != nil {
			return nil, err
		}
		s.line = append(s.line, part...)
		if len(s.line) > maxBody {
			return nil, fmt.Errorf("a line of a stream is too long")
		}
		if n := len(s.line); n > 0 && s.line[n-1] == '\n' {
			return bytes.TrimSuffix(s.line[:n-1], []byte("\r")), nil
		}
	}
}

// readPart takes what is there, to the line's or the chunk's end at most.
func (s *Stream) readPart() ([]byte, error) {
	r := s.conn.reader
	if r.Buffered() == 0 {
		if _, err := r.Peek(1); err != nil {
			return nil, err
		}
	}
	part, err := r.Peek(r.Buffered())
	if err != nil {
		return nil, err
	}
	if s.chunked && len(part) > s.left {
		part = part[:s.left]
	}
	if end := bytes.IndexByte(part, '\n'); end >= 0 {
		part = part[:end+1]
	}
	s.left -= len(part)
	_, err = r.Discard(len(part)) // the bytes stay where they are until the next read
	s.ended = s.left == 0
	return part, err
}

// nextChunk reads up to the bytes of the next chunk. The line end of the one
// before is read only now, because an event must not wait for it.
func (s *Stream) nextChunk() error {
	if s.ended {
		if _, err := s.conn.reader.ReadSlice('\n'); err != nil {
			return err
		}
		s.ended = false
	}
	size, err := chunkSize(s.conn.reader)
	if err != nil {
		return err
	}
	if size == 0 {
		return io.EOF
	}
	s.left = size
	return nil
}
