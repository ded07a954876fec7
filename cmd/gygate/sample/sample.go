// Package sample is the data of the quick start and the demo: one company with a
// private numbering plan, a prepaid account for every way a call can go, and a
// small tariff. All numbers are from the ranges that the German and British
// regulators keep free for fiction.
package sample

import (
	"time"

	"gygate/ocs"
	"gygate/vpnlogic"
)

// EUR is the currency of the sample data.
const EUR ocs.Currency = 978

// Numbers outside the company.
const (
	Stranger      vpnlogic.E164 = "498999998100" // a prepaid line that is no member
	Outside       vpnlogic.E164 = "494066969100" // a public number in the same country
	Abroad        vpnlogic.E164 = "442079460100" // a public number of another country
	EmergencyCall               = "112"
)

// Group is the company acme with its virtual private network 7001.
var Group = vpnlogic.Group{
	ID: "7001", Name: "acme", Customer: "acme",
	CountryCode: "49", AreaCode: "30", EscapeCode: "0",
	ShortDigits: 4, ForcedOnNet: true, TimeZone: "Europe/Berlin",
}

// Line is a telephone line with what is on its prepaid account.
type Line struct {
	Short   string // "" when the line is no member
	Number  vpnlogic.E164
	Name    string
	Account *Account // nil: no prepaid service
	Shows   string   // what the line is there to show
}

// Account is a prepaid account as the sample opens it.
type Account struct {
	Balance   ocs.Money
	Threshold ocs.Money
	Expired   bool // its validity period is over
	Lost      bool
	Blocked   bool
}

// Lines are all lines of the sample, the stranger last.
func Lines() []Line {
	const euro, cent = ocs.MoneyScale, ocs.MoneyScale / 100
	return []Line{
		{"6001", "493023125001", "Ada", &Account{Balance: 10 * euro}, "calls in several slices"},
		{"6002", "493023125002", "Ben", &Account{Balance: 10 * euro}, "is called"},
		{"6003", "493023125003", "Cem", &Account{Balance: 5 * cent}, "runs out of money in mid-call"},
		{"6004", "493023125004", "Dana", nil, "has no prepaid service"},
		{"6005", "493023125005", "Eva", &Account{Balance: 1 * euro}, "has money frozen by another service"},
		{"6006", "493023125006", "Finn", &Account{Balance: 10 * euro}, "dials out with the escape code"},
		{"6011", "493023125011", "Gil", &Account{}, "has no balance"},
		{"6012", "493023125012", "Hana", &Account{Balance: 10 * euro, Expired: true}, "has an expired account"},
		{"6013", "493023125013", "Ivo", &Account{Balance: 1 * euro, Threshold: 2 * euro}, "is below the threshold"},
		{"6014", "493023125014", "Jana", &Account{Balance: 10 * euro, Lost: true}, "reported the line lost"},
		{"6015", "493023125015", "Kim", &Account{Balance: 10 * euro, Blocked: true}, "is blocked by the operator"},
		{"", Stranger, "a stranger", &Account{Balance: 10 * euro}, "is no member"},
	}
}

// Number is the public number behind a short number of the sample, "" for none.
func Number(short string) vpnlogic.E164 {
	for _, l := range Lines() {
		if l.Short != "" && l.Short == short {
			return l.Number
		}
	}
	return ""
}

// Members are the lines that belong to the group.
func Members() []vpnlogic.Member {
	var all []vpnlogic.Member
	for _, l := range Lines() {
		if l.Short != "" {
			all = append(all, vpnlogic.Member{Number: l.Number, Group: Group.ID, Short: l.Short, Display: l.Name, Prepaid: l.Account != nil})
		}
	}
	return all
}

// Tariff are the prices: on-net a cent a second, off-net two cents and a fee,
// international five cents and a fee, Britain cheaper.
func Tariff() []ocs.TariffEntry {
	const cent = ocs.MoneyScale / 100
	since := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	perSecond := func(id string, group uint32, prefix string, fee, price ocs.Money) ocs.TariffEntry {
		return ocs.TariffEntry{ID: id, Version: 1, Service: ocs.AnyService, RatingGroup: group, Prefix: prefix, Unit: ocs.Seconds,
			Currency: EUR, Fee: fee, First: 1, Following: 1, Price: price, Per: 60, ValidFrom: since}
	}
	return []ocs.TariffEntry{
		perSecond("on-net", vpnlogic.RatingOnNet, "", 0, 60*cent),
		perSecond("off-net", vpnlogic.RatingOffNet, "", 5*cent, 120*cent),
		perSecond("international", vpnlogic.RatingInternational, "", 10*cent, 300*cent),
		perSecond("international-gb", vpnlogic.RatingInternational, "44", 10*cent, 240*cent),
	}
}
