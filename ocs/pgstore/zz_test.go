package pgstore
import ("testing";"time";"context";"fmt";"gygate/ocs";"os";"strings";"strconv";"syscall")
type timed struct{ *Store; load, decide, store time.Duration; n, steps int; pg0, go0 time.Duration }
func (s *timed) cpu() (pg, self time.Duration) {
 for _, l := range s.lanes { if l.conn==nil {continue}; b,_:=os.ReadFile(fmt.Sprintf("/proc/%d/stat", l.conn.PgConn().PID())); f:=strings.Fields(string(b[strings.LastIndex(string(b),")")+2:])); u,_:=strconv.Atoi(f[11]); k,_:=strconv.Atoi(f[12]); pg+=time.Duration(u+k)*10*time.Millisecond }
 var r syscall.Rusage; syscall.Getrusage(0,&r); self=time.Duration(r.Utime.Nano()+r.Stime.Nano()); return }
func (s *timed) Transact(ctx context.Context, lane int, want []ocs.Want, decide func(*ocs.WorkingSet)) error {
 var ws *ocs.WorkingSet
 err := s.Store.Transact(ctx, lane, want, func(w *ocs.WorkingSet){ ws=w; decide(w)})
 if ws!=nil { t:=ws.Timing; s.load+=t.Loaded.Sub(t.Began); s.decide+=t.Decided.Sub(t.Loaded); s.store+=t.Committed.Sub(t.Decided); s.n++; s.steps+=len(want)
 if s.n%1000==0 { pg,self:=s.cpu(); k:=time.Duration(s.steps); fmt.Printf("batches %d avg %d load %v decide %v store %v; per step: pg %v go %v\n", s.n, s.steps/s.n, s.load/time.Duration(s.n), s.decide/time.Duration(s.n), s.store/time.Duration(s.n), (pg-s.pg0)/k, (self-s.go0)/k); s.load,s.decide,s.store,s.n,s.steps=0,0,0,0,0; s.pg0,s.go0=pg,self } }
 return err }
var _ = testing.Short

func report(b *testing.B, dsn string) {
 pool := newPool(b, dsn); defer pool.Close()
 rows,_ := pool.Query(context.Background(), "select relname, n_tup_ins, n_tup_upd, n_tup_hot_upd, n_tup_del, n_dead_tup, pg_relation_size(relid)/8192, pg_indexes_size(relid)/8192 from pg_stat_user_tables where n_tup_ins>0 order by 1")
 for rows.Next() { v,_:=rows.Values(); fmt.Println(v...) }
 var wal, fpi, bytes int64
 pool.QueryRow(context.Background(), "select wal_records, wal_fpi, wal_bytes::bigint from pg_stat_wal").Scan(&wal,&fpi,&bytes)
 fmt.Println("wal records, fpi, bytes", wal, fpi, bytes)
}
