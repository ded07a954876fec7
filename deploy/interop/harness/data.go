package harness

import (
	"fmt"

	"gygate/ocs"
)

// Tariffs of the programs: one cent a second on-net, in increments of one second
// and of six; two cents off-net, which is also the price of a request that names
// no rating group; one and two cents a megabyte (million octets) in the rating
// groups 10 and 20; thirty cents an event in rating group 8, and a message whose
// request names no rating group.
const (
	tariffHeader    = "id,version,service,rating_group,prefix,unit,currency,fee,minimum,first,following,price,per,valid_from\n"
	TariffPerSecond = tariffHeader + "on-net,1,*,100,,seconds,978,0,0,1,1,0.60,60,2020-01-01T00:00:00Z\n" +
		"off-net,1,*,101,,seconds,978,0,0,1,1,1.20,60,2020-01-01T00:00:00Z\n" + tariffData
	TariffSixSeconds = tariffHeader + "on-net,1,*,100,,seconds,978,0,0,6,6,0.60,60,2020-01-01T00:00:00Z\n"
	tariffData       = "data,1,*,10,,octets,978,0,0,1,1,0.01,1000000,2020-01-01T00:00:00Z\n" +
		"video,1,*,20,,octets,978,0,0,1,1,0.02,1000000,2020-01-01T00:00:00Z\n" +
		"event,1,*,8,,events,978,0,0,1,1,0.30,1,2020-01-01T00:00:00Z\n" +
		"message,1,32274@3gpp.org,0,,events,978,0,0,1,1,0.30,1,2020-01-01T00:00:00Z\n"
)

// Prices of TariffPerSecond.
const (
	PerSecond   = ocs.MoneyScale / 100      // on-net
	PerMegabyte = ocs.MoneyScale / 100      // rating group 10; twice that in 20
	PerEvent    = 30 * ocs.MoneyScale / 100 // rating group 8, or a message
	Megabyte    = 1_000_000                 // octets
)

// MemberHeader is the header line of Members' CSV.
const MemberHeader = "number,group,short_number,prepaid\n"

// Member is one member as a line of CSV.
func Member(number, group, short string) string {
	return fmt.Sprintf("%s,%s,%s,true\n", number, group, short)
}

// Group is a group of four-digit short numbers as CSV.
func Group(id, name string) string {
	return "id,name,customer,country_code,area_code,escape_code,short_digits\n" +
		fmt.Sprintf("%s,%s,%s,46,8,0,4\n", id, name, name)
}

// AccountBooks is the part of `account show --json` that the programs compare.
type AccountBooks struct {
	Available ocs.Money `json:"available"`
	Frozen    ocs.Money `json:"frozen"`
	Spent     ocs.Money `json:"spent"`
}

// Account reads an account back.
func (g *Gygate) Account(msisdn string) (AccountBooks, error) {
	var a AccountBooks
	return a, g.JSON(&a, "account", "show", msisdn)
}

// Compare reads the accounts back, prints what was expected and what came, has
// gygate verify all books, and fails unless the sum was debited to the cent and
// nothing is frozen any more.
func (g *Gygate) Compare(expected ocs.Money, accounts ...string) error {
	var spent, frozen ocs.Money
	for _, msisdn := range accounts {
		a, err := g.Account(msisdn)
		if err != nil {
			return err
		}
		spent, frozen = spent+a.Spent, frozen+a.Frozen
	}
	fmt.Printf("expected %s, debited %s, still frozen %s\n", expected, spent, frozen)
	verdict, err := g.Run("verify")
	fmt.Print(string(verdict))
	switch {
	case err != nil:
		return err
	case spent != expected:
		return fmt.Errorf("debited %s instead of %s", spent, expected)
	case frozen != 0:
		return fmt.Errorf("%s is still frozen", frozen)
	}
	return nil
}
