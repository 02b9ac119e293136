"""The names that columns of each field have in files of stores and of other systems. Pure.

Names are compared by their letters and digits (`plain`), in any script. So `E-Mail`, `e_mail` and `Email` are one name, and
`顧客ID` (the id of the customer) is never `ID`.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Final

from platform_relay.inbox.events import EVENTS, EventKind

BIRTHDAY: Final = "birthday"
"""A field of the mapping only: a date that fills `birthdayMonth` and `birthdayDay`."""
IDS: Final = ("id", "customerId")
TIMES: Final = ("createdAt", "updatedAt")

_ALIASES: Final[Mapping[str, str]] = {
    "id": ("externalid external{kind}id merchant{kind}id store{kind}id shopify{kind}id shopifyid {kind}id entityid id"),
    "email": "email emailaddress mail customeremail billingemail billingaddressemail useremail",
    "name": "name fullname displayname customername",
    "firstName": "firstname givenname forename billingfirstname",
    "lastName": "lastname surname familyname billinglastname",
    "phone": "phone telephone phonenumber billingphone mobile",
    "birthdayMonth": "birthdaymonth birthmonth",
    "birthdayDay": "birthdayday birthday",
    BIRTHDAY: "birthday birthdate dateofbirth dob",
    "tags": "tags customertags groups",
    "createdAt": (
        "createdat created datecreated dateregistered registered orderdate purchasedate createdon customersince "
        "registrationdate signupdate"
    ),
    "updatedAt": "updatedat updated modified datemodified lastmodified changedat",
    "customerId": (
        "customerid externalcustomerid merchantcustomerid storecustomerid shopifycustomerid customeruserid "
        "buyerid customeruser customer buyer userid user"
    ),
    "financialStatus": "financialstatus paymentstatus status orderstatus",
    "currency": "currency currencycode ordercurrency",
    "totalPrice": "totalprice total ordertotal ordertotalamount grandtotal amount",
    "subtotalPrice": "subtotalprice subtotal ordersubtotal",
    "refundedAmount": "refundedamount totalrefunded",
    "title": "title name productname producttitle",
    "imageUrl": "imageurl image imagesrc images thumbnail",
    "status": "status state published",
    "externalUrlHandle": "externalurlhandle handle slug urlkey permalink",
}
"""In the order in which they are preferred. For the id: the name that points to the store comes before `id`, which is the own id of
the system that wrote the file (the Platform and Klaviyo write the store's id beside it as external id)."""
_STORES_ID: Final[Mapping[EventKind, str]] = {EventKind.CUSTOMER: "merchantid"}
"""LoyaltyLion's customers have the store's id as merchant id. In orders and products that is an id of the merchant."""
_UNCERTAIN_IDS: Final[Mapping[EventKind, str]] = {
    EventKind.CUSTOMER: (
        "customernumber kundennummer kundennr kdnr numeroclient identifiant numerodecliente numerocliente "
        "numerklienta klantnummer 顧客番号 会員番号 номерклиента"
    ),
    EventKind.ORDER: (
        "ordernumber number incrementid order orderno bestellnummer bestellnr auftragsnummer numerodecommande "
        "numerodepedido numeroordine numerzamowienia bestelnummer 注文番号 номер номерзаказа"
    ),
    EventKind.PRODUCT: "sku artikelnummer artikelnr 商品番号 артикул",
}
"""Names of columns that hold the store's id in some exports only."""
_OTHER_LANGUAGES: Final[Mapping[str, str]] = {
    "email": (
        "emailadresse mailadresse kundenemail adresseemail adressemail courriel correo correoelectronico "
        "adresemail emailadres indirizzoemail メールアドレス электроннаяпочта почта"
    ),
    "name": (
        "vollstandigername kundenname nomcomplet nomduclient nombrecompleto imieinazwisko nomecompleto 氏名 お名前 顧客名 "
        "фио"
    ),
    "firstName": "vorname prenom nombre imie nome voornaam 名 имя",
    "lastName": "nachname familienname nom nomdefamille apellido apellidos nazwisko cognome achternaam 姓 фамилия",
    "phone": (
        "telefon tel telefonnummer telnr handy mobil mobilnummer numerodetelephone portable telefono movil "
        "cellulare telefoon telefoonnummer numertelefonu 電話番号 телефон"
    ),
    BIRTHDAY: (
        "geburtstag geburtsdatum geb gebdatum datedenaissance fechadenacimiento datadinascita dataurodzenia "
        "geboortedatum 生年月日 誕生日 датарождения"
    ),
    "createdAt": (
        "bestelldatum erstelltam registriertam kundeseit datedecommande datedecreation fechadepedido "
        "fechadelpedido datazamowienia dataordine besteldatum 注文日 注文日時 登録日 登録日時 датазаказа"
    ),
    "updatedAt": "geandertam geaendertam zuletztgeandert aktualisiertam datedemodification modifiele 更新日 更新日時",
    "customerId": (
        "kundenid idclient idcliente iddelcliente idklienta klantid 顧客id 会員id お客様id idклиента kundennummer "
        "kundennr kdnr numeroclient numerodecliente numerocliente numerklienta klantnummer 顧客番号 会員番号 номерклиента"
    ),
    "financialStatus": (
        "zahlungsstatus bestellstatus statut statutdepaiement statutdelacommande estado estadodelpedido "
        "statuszamowienia stato statoordine ステータス 注文ステータス статус статусзаказа"
    ),
    "currency": "wahrung waehrung devise moneda divisa waluta valuta 通貨 валюта",
    "totalPrice": (
        "gesamtsumme gesamtbetrag gesamt gesamtpreis totalttc montanttotal importetotal totaldelpedido totale "
        "totaal wartosczamowienia 合計 合計金額 сумма суммазаказа итого"
    ),
    "subtotalPrice": "zwischensumme soustotal 小計",
    "title": (
        "titel produktname artikelname titre nomduproduit nombredelproducto nomeprodotto nazwaproduktu "
        "productnaam 商品名 названиетовара"
    ),
}
"""Names of columns in German, French, Spanish, Italian, Dutch, Polish, Japanese and Russian files."""
_MORE_BY_KIND: Final[Mapping[tuple[EventKind, str], str]] = {
    (EventKind.CUSTOMER, "id"): (
        "kundenid idclient idcliente iddelcliente idklienta klantid 顧客id 会員id お客様id idклиента userid"
    ),
    (EventKind.ORDER, "id"): "bestellid idcommande idpedido iddelpedido idordine idzamowienia bestelid 注文id idзаказа",
    (EventKind.ORDER, "createdAt"): "date datum fecha",
    (EventKind.PRODUCT, "id"): "produktid artikelid idproduit idproducto idprodotto idproduktu 商品id",
}
_UNCERTAIN_CUSTOMERS: Final = frozenset(
    {"userid", "customer", "user", "buyer"} | {*_UNCERTAIN_IDS[EventKind.CUSTOMER].split()} - {"identifiant"}
)
"""In an order, `user_id` is the customer in WooCommerce, and in Shopify the member of staff who was at the till
(shopify.dev/docs/api/admin-rest/latest/resources/order)."""
_BILLING: Final = "billing"
_ZONES: Final = ("gmt", "utc")
LONGEST: Final = 200
"""Characters. Longer names are not compared, and not kept in memory."""
_CONTAINERS: Final = ("attributes.", "properties.")
"""JSON:API, Klaviyo; HubSpot."""


def plain(name: str) -> str:
    """The letters and digits of a name, without case and accents, and without the object that holds all fields of an entity;
    "" for a name that is too long for one."""
    return _plain(name) if len(name) <= LONGEST else ""


@lru_cache(maxsize=10_000)
def _plain(name: str) -> str:
    folded = name.casefold()
    for container in _CONTAINERS:
        folded = folded.removeprefix(container)
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKD", folded))


def names_utc(column: str) -> bool:
    """Whether the name of a column of times shows that they are in UTC: `date_created_gmt`, `Created (UTC)`."""
    return plain(column).endswith(_ZONES)


@cache
def aliases(kind: EventKind, field: str) -> tuple[str, ...]:
    """The plain names of columns of the field, the preferred ones first. A time in UTC comes before one without a zone."""
    singular = str(kind).removesuffix("s")
    uncertain = _UNCERTAIN_IDS[kind] if field == "id" else ""
    stores_id = _STORES_ID.get(kind, "") if field == "id" else ""
    tables = (
        stores_id,
        _ALIASES[field],
        _OTHER_LANGUAGES.get(field, ""),
        _MORE_BY_KIND.get((kind, field), ""),
        uncertain,
    )
    names = [alias.format(kind=singular) for table in tables for alias in table.split()]
    prefixed = [name.removeprefix(_BILLING) for name in names if name.startswith(_BILLING)]
    names += [f"{name}{_BILLING}" for name in prefixed]  # Email (Billing)
    zoned = [f"{name}{zone}" for name in names for zone in _ZONES] if field in TIMES else []
    return tuple(dict.fromkeys(plain(name) for name in (*zoned, *names)))


@cache
def uncertain_aliases(kind: EventKind, field: str) -> frozenset[str]:
    """Those of the field's names that hold the store's id in some exports only."""
    match field:
        case "id":
            names = frozenset(_UNCERTAIN_IDS[kind].split())
        case "customerId":
            names = _UNCERTAIN_CUSTOMERS
        case _:
            names = frozenset()
    return frozenset(map(plain, names))


@cache
def all_aliases() -> frozenset[str]:
    """The plain names of the columns of all fields of all kinds."""
    return frozenset(alias for kind in EventKind for field in mappable_fields(kind) for alias in aliases(kind, field))


@cache
def mappable_fields(kind: EventKind) -> tuple[str, ...]:
    """The fields that a guess can fill."""
    names = tuple(name for name in EVENTS[kind].model_fields if name in _ALIASES)
    return (*names, BIRTHDAY) if kind is EventKind.CUSTOMER else names
