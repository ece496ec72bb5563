package queue

import "errors"

var errStub = errors.New("queue: being built")

type Store struct{}

type Watch struct{ C <-chan struct{} }

func (w *Watch) Stop() {}

type Cursor struct{}

// Health is the state of the store.
type Health struct {
	Err       error // of the last flush or move; nil when it worked
	Full      bool  // the journal has no room until a move works
	ReadOnly  bool
	Salvaging int // segments being salvaged
	Unmoved   int // records that are in the journal alone
	Free      int64
	Flushes   uint64
	Moves     uint64
}

// Mailbox is a named, durable position in n.
type Mailbox struct {
	Name string
	N    uint64
	Rest []byte // the caller's own
}

func Open(opt Options) (*Store, error)                                       { return nil, errStub }
func (s *Store) Close() error                                                { return errStub }
func (s *Store) ID() string                                                  { return "" }
func (s *Store) Epoch() uint32                                               { return 0 }
func (s *Store) Epochs() []Epoch                                             { return nil }
func (s *Store) EpochOf(ring string, seq uint64) uint32                      { return 0 }
func (s *Store) Boot() uint32                                                { return 0 }
func (s *Store) Boots() []Boot                                               { return nil }
func (s *Store) NextN() uint64                                               { return 0 }
func (s *Store) NextSeq(ring string) uint64                                  { return 0 }
func (s *Store) Append(b Batch) (Receipt, error)                             { return Receipt{}, errStub }
func (s *Store) Read(ring string, after uint64, max Max) (Page, error)       { return Page{}, errStub }
func (s *Store) ReadBack(ring string, before uint64, max Max) (Page, error)  { return Page{}, errStub }
func (s *Store) ReadAll(rings []string, after uint64, max Max) (Page, error) { return Page{}, errStub }
func (s *Store) ReadAllBack(rings []string, before uint64, max Max) (Page, error) {
	return Page{}, errStub
}
func (s *Store) One(ring string, seq uint64) (Record, error) { return Record{}, errStub }
func (s *Store) Locate(epoch uint32, n uint64) (at uint64, reset bool, err error) {
	return 0, false, errStub
}
func (s *Store) LocateSeq(ring string, epoch uint32, seq uint64) (at uint64, reset bool, err error) {
	return 0, false, errStub
}
func (s *Store) Rings() []RingInfo                             { return nil }
func (s *Store) Ring(name string) (RingInfo, bool)             { return RingInfo{}, false }
func (s *Store) SetLimits(rings map[string]Limits, def Limits) {}
func (s *Store) DeleteRing(name string) error                  { return errStub }
func (s *Store) Watch() *Watch                                 { return nil }
func (s *Store) Get(table, key string) ([]byte, bool)          { return nil, false }
func (s *Store) Each(table, from string, fn func(key string, value []byte) bool) error {
	return errStub
}
func (s *Store) Move() error                         { return errStub }
func (s *Store) Health() Health                      { return Health{} }
func (s *Store) Cursor(name string) *Cursor          { return nil }
func (s *Store) Cursors() []string                   { return nil }
func (s *Store) DropCursor(name string) error        { return errStub }
func (s *Store) Mailboxes() []Mailbox                { return nil }
func (s *Store) Mailbox(name string) (Mailbox, bool) { return Mailbox{}, false }

// MailboxRow is the row that sets a mailbox.
func MailboxRow(m Mailbox) Row       { return Row{} }
func DropMailboxRow(name string) Row { return Row{} }

func (c *Cursor) Ack(ring string, rs ...Range)       {}
func (c *Cursor) Refuse(ring string, rs ...Range)    {}
func (c *Cursor) Acked(ring string, seq uint64) bool { return false }
func (c *Cursor) Next(ring string) uint64            { return 0 }
func (c *Cursor) Ranges(ring string) []Range         { return nil }
func (c *Cursor) Refused(ring string) []Range        { return nil }
func (c *Cursor) SkipAll()                           {}
