package localpg

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// owner is the user the server runs as: PostgreSQL refuses to run as root.
type owner struct {
	name     string
	uid, gid uint32
	self     bool // the server runs as this process's own user
}

// serverOwner picks the user: ourselves, or, as root, postgres or else nobody.
func serverOwner() (owner, error) {
	if os.Geteuid() != 0 {
		return owner{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid()), self: true}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
		if errUID == nil && errGID == nil {
			return owner{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
		}
	}
	return owner{}, fmt.Errorf("PostgreSQL does not run as root and this machine has neither a user postgres nor a user nobody: run gygate as an ordinary user")
}

// attributes starts a process as the owner, in a process group of its own: a
// Ctrl-C at the terminal must reach gygate alone, which stops the server last.
func (o owner) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if !o.self {
		a.Credential = &syscall.Credential{Uid: o.uid, Gid: o.gid}
	}
	return a
}

// take makes the folder private and gives it to the owner.
func (o owner) take(path string, mode os.FileMode) error {
	if err := os.Chmod(path, mode); err != nil {
		return err
	}
	if o.self {
		return nil
	}
	return os.Chown(path, int(o.uid), int(o.gid))
}

// checkReach tells which parent of dir keeps the owner from reaching it.
func (o owner) checkReach(dir string) error {
	if o.self {
		return nil
	}
	for parent := filepath.Dir(dir); ; parent = filepath.Dir(parent) {
		info, err := os.Stat(parent)
		if err != nil {
			return err
		}
		if !o.mayPass(info) {
			return fmt.Errorf("user %s, as whom PostgreSQL must run because gygate runs as root, cannot pass through %s to the data folder %s: "+
				"run gygate as an ordinary user, or put the data folder elsewhere, for example under /var/lib", o.name, parent, dir)
		}
		if parent == filepath.Dir(parent) {
			return nil
		}
	}
}

// mayPass reports whether the owner has search permission on a directory.
func (o owner) mayPass(info os.FileInfo) bool {
	bit := os.FileMode(0o001)
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		switch {
		case st.Uid == o.uid:
			bit = 0o100
		case st.Gid == o.gid:
			bit = 0o010
		}
	}
	return info.Mode()&bit != 0
}
